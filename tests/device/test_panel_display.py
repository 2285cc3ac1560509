"""What the display shows, pixel by pixel: tests/device/panel/*.png. `python tests/device/test_panel_display.py` draws
them anew; look at them before they are kept."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
from luma.core.device import dummy
from PIL import Image

from device.panel.display import NAME_COLUMNS, SIZE, View, draw
from device.panel.lettering import HEIGHT, LARGE, SMALL, fit, line, plain, width, wrap
from device.preset import Preset

GOLDEN = Path(__file__).with_name("panel")
FACTORY = Path(__file__).parents[2] / "device" / "factory"


def timbre(seed=0):
    """Partials that fall with their number and die away, over a little noise."""
    bands, columns = np.mgrid[0:32, 0:64] / np.array([32, 64])[:, None, None]
    partials = np.exp(-3 * bands) * (1 - 0.7 * columns) * (np.arange(32)[:, None] % 4 == 0)
    return (partials + 0.1 * np.random.default_rng(seed).random((32, 64))).astype(np.float32)


FIRST = {"preset": "First", "corners": ("bass", "flute", "organ", "glockenspiel"), "timbre": timbre()}
KEYS = {"preset": "Keys", "corners": ("grand piano", "electric piano", "electric grand", "celesta"),
        "timbre": timbre(1)}
PRESETS = ("First", "Keys", "Mallets", "Plucked", "Winds", "Brass", "Strings", "Bells", "Voices", "Basses", "Chamber")
VIEWS = {
    "playing": View(**FIRST, x=0.3, y=0.7, voices=3),
    "decoding": View(**KEYS, x=0.0, y=0.0, decoded=0.4, voices=12),
    "long-names": View("Überlanges Preset mit Namen", ("acoustic bass guitar", "fretless bass guitar",
                       "synth strings ensemble", "atmosphere and crystal bells"), 1.0, 1.0, timbre(2), 0.02, 256),
    "fault": View(**KEYS, fault="no sound card: plug in a USB interface, or wire the DAC"),
    "message": View(**KEYS, voices=2, message="Cutoff 1200 Hz"),
    "long-message": View(**KEYS, voices=2, message="Attack 120 ms: turn left to take over"),
    "menu": View(**KEYS, voices=2, menu=PRESETS, selected=4),
    "short-menu": View(**KEYS, decoded=0.5, menu=("grand piano", "electric piano", "harpsichord of 1769"), selected=1),
    "nothing": View(),
}


def same(one, other):
    return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())


def ink(image):
    return int(np.asarray(image).sum())


@pytest.mark.parametrize("name", VIEWS)
def test_the_display_shows_what_was_looked_at(name):
    device = dummy(*SIZE, mode="1")
    device.display(draw(VIEWS[name]))
    with Image.open(GOLDEN / f"{name}.png") as kept:
        assert same(device.image, kept.convert("1"))


def test_an_emulated_display_takes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    emulated = pytest.importorskip("luma.emulator.device").capture(
        *SIZE, mode="1", transform="none", scale=1, file_template=str(tmp_path / "shown.png"))
    emulated.display(draw(VIEWS["playing"]))
    with Image.open(tmp_path / "shown.png") as shown:
        assert same(shown.convert("1"), draw(VIEWS["playing"]))


def test_the_same_view_gives_the_same_pixels():
    for view in VIEWS.values():
        assert draw(view).tobytes() == draw(view).tobytes()
        assert draw(view).size == SIZE
        assert draw(view).mode == "1"


def preset_names(path):
    preset = Preset.from_bytes(path.read_bytes(), str(path))
    return preset.name, tuple(corner.name for corner in preset.corners)


@pytest.mark.parametrize("path", sorted(FACTORY.glob("*.tetrad")), ids=lambda path: path.stem)
def test_every_shipped_preset_is_shown_with_its_whole_names(path):
    name, corners = preset_names(path)
    assert fit(name, SIZE[0] - 30) == name
    for corner in corners:
        assert fit(corner, NAME_COLUMNS, SMALL) == corner
    assert not same(draw(View(name, corners)), draw(View(name)))


ODD = ["", " ", "x" * 64, "W" * 64, "a " * 32, "ä" * 64, "Kontrabaß mit Dämpfer", "日本語", "🎹 piano", "\u202eevil",
       "\x00\x07\n\t", "a\u0300\u0301", "ﷺ" * 64, "." * 64, "a. b. c.", "-", "one two three four five six seven"]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_stay_in_their_place(name):
    assert set(map(ord, plain(name))) <= set(range(32, 127))
    for most, font in itertools.product((20, NAME_COLUMNS, 124), (LARGE, SMALL)):
        assert width(fit(name, most, font), font) <= most
        for lines in (1, 2, 4):
            found = wrap(name, most, lines, font)
            assert len(found) <= lines
            assert all(width(text, font) <= most for text in found)
    corners = draw(View(corners=(name,) * 4))
    assert not np.asarray(corners)[:13, :].any(axis=1)[9:].any()  # nothing between title and names
    between = np.asarray(corners)[np.r_[13:21, 56:64], NAME_COLUMNS : SIZE[0] - NAME_COLUMNS]
    assert not between.any()
    for view in (View(name, voices=999), View(message=name), View(fault=name), View(menu=(name,) * 9, selected=8)):
        assert draw(view).size == SIZE


def test_letters_lose_their_accents_only():
    assert plain("Über Çä Ñø ß œ Łódź “x” \u2013 y…") == 'Uber Ca No ss oe Lodz "x" - y...'
    assert plain("鍵盤 a\tb\u0085c") == "?? a b c"


def test_names_of_a_kind_are_told_apart_when_they_are_shortened():
    assert fit("electric piano", 50, SMALL) == "electri. piano"
    shortened = {fit(name, 40, SMALL) for name in ("electric piano", "electric grand", "electric guitar")}
    assert len(shortened) == 3


def test_every_letter_has_its_own_shape():
    for font in (LARGE, SMALL):
        shapes = {tuple(font.columns(chr(code))) for code in range(33, 127)}
        assert len(shapes) >= 93  # a font may have two alike
        assert all(0 < column < 256 or column == 0 for shape in shapes for column in shape)
    assert line("A").size[1] == HEIGHT
    assert line("AB", scale=2).size == (2 * line("AB").size[0], 2 * HEIGHT)


def dot(x, y):
    """Where the dot's middle is, as the one place that has ink in a block of five by three."""
    pad = np.asarray(draw(View(x=x, y=y))).astype(int)[22:54, 1:33]
    blocks = sum(np.roll(pad, (-row, -column), (0, 1)) for row in range(3) for column in range(5))
    row, column = np.unravel_index(blocks.argmax(), blocks.shape)
    return column + 2, row + 1


def test_the_dot_is_where_the_knobs_are():
    left, top = dot(0, 0)
    right, bottom = dot(1, 1)
    assert right - left == bottom - top == 25
    assert dot(1, 0) == (right, top)
    assert dot(0, 1) == (left, bottom)
    assert dot(0.5, 0.5) == (pytest.approx((left + right) / 2, abs=1), pytest.approx((top + bottom) / 2, abs=1))


def test_low_bands_are_at_the_bottom_and_time_runs_right():
    low = np.zeros((16, 8), np.float32)
    low[0] = 1
    picture = np.asarray(draw(View(timbre=low)))[21:55, 40:]
    assert picture[-2:].all()
    assert not picture[:-3].any()
    early = np.zeros((16, 8), np.float32)
    early[:, 0] = 1
    picture = np.asarray(draw(View(timbre=early)))[21:55, 40:]
    assert picture[:, :11].all()
    assert not picture[:, 11:].any()


def test_louder_is_lighter():
    shades = [ink(draw(View(timbre=np.full((4, 4), level, np.float32)))) for level in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    assert shades == sorted(set(shades))


@pytest.mark.parametrize("picture", [
    np.full((3, 5), np.nan, np.float32), np.full((1, 1), np.inf, np.float32), np.zeros((0, 4), np.float32),
    np.zeros(7, np.float32), np.full((200, 999), 9.0, np.float32), np.full((2, 2), -1.0, np.float32)])
def test_any_picture_of_a_timbre_is_shown(picture):
    assert draw(View(timbre=picture)).size == SIZE


def test_values_out_of_range_are_shown_at_their_ends():
    for wild, end in ((-1.0, 0.0), (2.0, 1.0), (float("nan"), 0.0), (float("inf"), 1.0)):
        assert same(draw(View(x=wild, y=wild)), draw(View(x=end, y=end)))
        assert same(draw(View(decoded=wild)), draw(View(decoded=end)))


def test_progress_grows_until_it_goes():
    rows = [int(np.asarray(draw(View(decoded=share)))[10:12].sum()) for share in (0, 0.25, 0.5, 0.75, 0.99)]
    assert rows == sorted(set(rows))
    assert np.asarray(draw(View(decoded=1.0)))[9:13].sum() == 0


@pytest.mark.parametrize("selected", [None, 0, 4, 10])
def test_the_chosen_entry_of_a_menu_is_seen(selected):
    shown = np.asarray(draw(View(menu=PRESETS, selected=selected)))
    inverted = [row for row in range(10, 64) if shown[row, :120].mean() > 0.5]
    assert bool(inverted) is (selected is not None)
    assert shown[58:63, :60].any()  # the list goes down to the bottom
    if selected is not None:
        entry = line(PRESETS[selected])
        for row in inverted:  # the entry's letters are black in it
            below = shown[row : row + entry.size[1], 2 : 2 + entry.size[0]]
            if below.shape == np.asarray(entry).shape and (below == ~np.asarray(entry)).all():
                break
        else:
            pytest.fail(f"{PRESETS[selected]} is not the entry that is marked")


def test_any_view_is_drawn():
    rng = random.Random(8)
    letters = "aW .ß鍵\n%"
    for _ in range(200):
        words = ["".join(rng.choices(letters, k=rng.randint(0, 80))) for _ in range(8)]
        menu = tuple(words[: rng.randint(0, 8)])
        view = View(words[0], tuple(words[1:5]), rng.random(), rng.random(), None, rng.random(), rng.randint(0, 10**6),
                    words[5] * rng.randint(0, 1), words[6] * rng.randint(0, 1), menu,
                    rng.choice([None, rng.randrange(len(menu))]) if menu else None)
        assert draw(view).size == SIZE


if __name__ == "__main__":
    for name, view in VIEWS.items():
        draw(view).save(GOLDEN / f"{name}.png", optimize=True)
