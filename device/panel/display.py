"""A view to 128 x 64 pixels, black and white. Three bands: the title, the pad between its corners' names, and what lies
over it for a while.
"""

import numpy as np
from PIL import Image, ImageDraw

from device.panel.lettering import HEIGHT, LARGE, SMALL, Font, fit, line, width, wrap
from device.panel.view import SIZE, View

__all__ = ["SIZE", "View", "draw"]

TITLE_ROWS = 9
PROGRESS_ROW = 10
NAMES_ROWS = (13, 56)
NAME_COLUMNS = 62  # a half, less the gap
PAD = (0, 21, 33, 54)  # left, top, right, bottom, all within
TIMBRE = (40, 21, 127, 54)
MESSAGE = (0, 21, 127, 55)
MENU_ROW, MENU_STEP, MENU_ENTRIES = 10, 9, 6
# Ordered dither: which of 16 shades lights which pixel (Bayer 1973).
SHADES = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) + 0.5) / 16


def draw(view: View) -> Image.Image:
    """What the display shows for a view, mode "1". The same view gives the same pixels, and none raises an error."""
    image = Image.new("1", SIZE)
    canvas = ImageDraw.Draw(image)
    _title(image, canvas, view)
    if view.menu:
        _menu(image, canvas, view.menu, view.selected)
    else:
        _names(image, view.corners)
        _pad(canvas, _unit(view.x), _unit(view.y))
        if view.fault:
            _fault(image, canvas, view.fault)
        elif view.timbre is not None and view.timbre.size:
            left, top, right, bottom = TIMBRE
            image.paste(_dithered(view.timbre, right - left + 1, bottom - top + 1), (left, top))
    if view.message:
        _message(image, canvas, view.message)
    return image


def _unit(value: float) -> float:
    return min(value, 1.0) if value > 0 else 0.0  # NaN is 0


def _ink(image: Image.Image, place: tuple[int, int], text: str, font: Font = LARGE, white: bool = True,
         scale: int = 1) -> None:
    image.paste(int(white), place, line(text, font, scale))


def _title(image: Image.Image, canvas: ImageDraw.ImageDraw, view: View) -> None:
    """The preset's name and the notes that sound, black on white; what is decoded of it as a line beneath."""
    canvas.rectangle((0, 0, SIZE[0] - 1, TITLE_ROWS - 1), fill=1)
    room = SIZE[0] - 4
    if view.voices > 0:
        count = str(min(view.voices, 999))
        left = SIZE[0] - 2 - width(count)
        _ink(image, (left, 1), count, white=False)
        _note(canvas, left - 6)
        room = left - 10
    _ink(image, (2, 1), fit(view.preset, room), white=False)
    decoded = _unit(view.decoded)
    if decoded < 1 and not view.menu:
        canvas.point([(column, PROGRESS_ROW) for column in range(0, SIZE[0], 4)], fill=1)
        done = int(decoded * SIZE[0])
        if done:
            canvas.rectangle((0, PROGRESS_ROW, done - 1, PROGRESS_ROW + 1), fill=1)


def _note(canvas: ImageDraw.ImageDraw, left: int) -> None:
    canvas.rectangle((left, 5, left + 2, 7), fill=0)
    canvas.line((left + 2, 1, left + 2, 7), fill=0)
    canvas.line((left + 2, 1, left + 4, 3), fill=0)


def _names(image: Image.Image, corners: tuple[str, ...]) -> None:
    for number, name in enumerate(corners[:4]):
        name = fit(name, NAME_COLUMNS, SMALL)
        left = SIZE[0] - width(name, SMALL) if number % 2 else 0
        _ink(image, (left, NAMES_ROWS[number // 2]), name, SMALL)


def _pad(canvas: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """The square and, as a dot, where the knobs are in it."""
    left, top, right, bottom = PAD
    canvas.rectangle(PAD, outline=1)
    canvas.point([(left + step, (top + bottom) // 2) for step in range(3, right - left, 3)], fill=1)
    canvas.point([((left + right) // 2, top + step) for step in range(3, bottom - top, 3)], fill=1)
    column, row = left + 4 + round(x * (right - left - 8)), top + 4 + round(y * (bottom - top - 8))
    canvas.rectangle((column - 3, row - 3, column + 3, row + 3), fill=0)  # stands out from the lines
    canvas.rectangle((column - 1, row - 2, column + 1, row + 2), fill=1)
    canvas.rectangle((column - 2, row - 1, column + 2, row + 1), fill=1)


def _dithered(timbre: np.ndarray, columns: int, rows: int) -> Image.Image:
    """[bands, columns] 0..1, the lowest band at the bottom, as black and white."""
    values = np.nan_to_num(np.atleast_2d(np.asarray(timbre, np.float32)), posinf=1.0)[::-1]
    if values.ndim != 2:
        return Image.new("1", (columns, rows))
    down = np.arange(rows) * values.shape[0] // rows
    across = np.arange(columns) * values.shape[1] // columns
    shade = np.tile(SHADES, (rows // 4 + 1, columns // 4 + 1))[:rows, :columns]
    return Image.fromarray((values[np.ix_(down, across)] > shade).astype(np.uint8) * np.uint8(255)).convert("1")


def _fault(image: Image.Image, canvas: ImageDraw.ImageDraw, fault: str) -> None:
    left, top, right, bottom = TIMBRE
    canvas.rectangle(TIMBRE, fill=1)
    found = wrap(fault, right - left - 3, (bottom - top) // HEIGHT, SMALL)
    for number, text in enumerate(found):
        _ink(image, (left + 2, top + 2 + number * HEIGHT), text, SMALL, white=False)


def _message(image: Image.Image, canvas: ImageDraw.ImageDraw, message: str) -> None:
    """In a frame over the middle: twice as large where that fits in two lines."""
    left, top, right, bottom = MESSAGE
    canvas.rectangle(MESSAGE, fill=0, outline=1)
    room = right - left - 7
    scale = 2
    found = wrap(message, room // scale, 2)
    if " ".join(found) != " ".join(message.split()):
        scale, found = 1, wrap(message, room, 4)
    step = HEIGHT * scale
    first = top + 1 + (bottom - top - len(found) * step + scale) // 2
    for number, text in enumerate(found):
        _ink(image, ((SIZE[0] - width(text) * scale) // 2, first + number * step), text, scale=scale)


def _menu(image: Image.Image, canvas: ImageDraw.ImageDraw, menu: tuple[str, ...], selected: int | None) -> None:
    """A list with the chosen entry inverted and, as far as it goes, in the middle; how far down, at the right."""
    beyond = max(len(menu) - MENU_ENTRIES, 0)
    first = min(max((selected or 0) - MENU_ENTRIES // 2 + 1, 0), beyond)
    edge = SIZE[0] - (5 if beyond else 1)
    for number, entry in enumerate(menu[first : first + MENU_ENTRIES]):
        row = MENU_ROW + number * MENU_STEP
        chosen = first + number == selected
        if chosen:
            canvas.rectangle((0, row, edge, row + MENU_STEP - 1), fill=1)
        _ink(image, (2, row + 1), fit(entry, edge - 4), white=not chosen)
    if beyond:
        rows = SIZE[1] - MENU_ROW
        size = max(rows * MENU_ENTRIES // len(menu), 4)
        top = MENU_ROW + (rows - size) * first // beyond
        canvas.rectangle((SIZE[0] - 2, top, SIZE[0] - 1, top + size - 1), fill=1)
