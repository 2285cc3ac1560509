"""Where everything stands: controls on the panel, sockets in the walls, boards on the base. All in mm, in the case's
coordinates; the names are those of the table of parts.

    rear wall:   [USB-C]            (MIDI in)  (MIDI out)  (line out)
    panel:       display   lamp       list  .--------.  learn
                           button           |  pad   |
                 attack  decay  sustain   y |        |
                 release filter volume      '--------'
                                      save      x     panic
"""

from dataclasses import dataclass, replace

from device.panel.parts import KNOBS
from enclosure import components
from enclosure.dimensions import Dimensions
from enclosure.shapes import AS_IT_LIES, HALF_ROUND, IN_LEFT_WALL, IN_REAR_WALL, Component, Shape, box

PAD = (48.0, 2.0)  # its middle
CORNER = 36.0  # encoders from there
PAD_SIDE = 46.0  # what is engraved between them
ENCODERS = ("LIST", "LEARN", "SAVE", "PANIC")  # what they do when they are pressed
POTS = {"attack": (-82.0, -8.0), "decay": (-54.0, -8.0), "sustain": (-26.0, -8.0),
        "release": (-82.0, -43.0), "filter": (-54.0, -43.0), "volume": (-26.0, -43.0),
        "x": (PAD[0], PAD[1] - CORNER), "y": (PAD[0] - CORNER, PAD[1])}
OLED = (-62.0, 42.0)
LED = (-22.0, 36.0)
SHUTDOWN = (-22.0, 54.0)
SCREW_FROM_EDGE = 9.0  # of panel and base, at their corners
BESIDE_PI = -4.0
POST, SHORT_POST = 12.0, 12.0  # width, and the height of those that one screw goes into
SOCKET_HEIGHT = 25.0  # of the rear wall's sockets' axes, above the base's underside
SOCKETS = {"midi_in": 18.0, "midi_out": 48.0, "line_out": 74.0}  # x
BOARD_UNDERSIDE = 7.0  # above the base's upper side
CARRIER = (4.0, -18.0)  # its corner
STICK = (50.0, -46.0)  # the Coral stick's middle
VENTS = ((-46.0, 40.0, 48.0, 30.0), (50.0, -46.0, 42.0, 18.0))  # slots in the base: middle, width, depth
LABEL = 3.5  # height of a capital letter
UNDER_KNOB = 14.5  # from a knob's middle to its label's


@dataclass(frozen=True)
class Label:
    """Engraved in the panel, in capitals; around x, y."""

    text: str
    x: float
    y: float
    height: float = LABEL


def encoder_at(number: int) -> tuple[float, float]:
    """Of a preset's corner: top left, top right, bottom left, bottom right."""
    return PAD[0] + (CORNER if number % 2 else -CORNER), PAD[1] + (-CORNER if number // 2 else CORNER)


def placed(dimensions: Dimensions) -> dict[str, Component]:
    """Every component where it belongs, by its name in the table of parts; boards by their own."""
    under = dimensions.panel_underside_mm
    found: dict[str, Component] = {}

    def on_panel(name: str, component: Component, at: tuple[float, float]) -> None:
        found[name] = replace(component.moved(AS_IT_LIES, (*at, under)), name=name)

    for name in KNOBS:
        on_panel(f"pot_{name}", components.potentiometer(dimensions), POTS[name])
    for number in range(4):
        on_panel(f"encoder{number}", components.encoder(dimensions), encoder_at(number))
    on_panel("oled", components.display(dimensions), OLED)
    on_panel("led", components.lamp(dimensions), LED)
    on_panel("shutdown", components.button(dimensions), SHUTDOWN)

    rear = dimensions.inner_depth_mm / 2
    for name, x in SOCKETS.items():
        socket = (components.jack if name == "line_out" else components.din_socket)(dimensions)
        found[name] = replace(socket.moved(IN_REAR_WALL, (x, rear, SOCKET_HEIGHT)), name=name)

    z = dimensions.sheet_mm + BOARD_UNDERSIDE
    pi = components.pi(dimensions.board)
    left = -dimensions.inner_width_mm / 2
    corner = (left + pi.from_left + pi.length, rear - pi.from_rear, z + components.PI_THICKNESS)
    found[dimensions.board] = pi.component.moved(HALF_ROUND, corner)
    found["carrier"] = components.carrier().moved(AS_IT_LIES, (*CARRIER, z + components.THICKNESS_MM))
    found["coral"] = components.coral().moved(AS_IT_LIES, (*STICK, z))
    if pi.stick_outside:
        found["stick_cable"] = components.cable_hole(dimensions).moved(IN_LEFT_WALL, (left, 1.0, z + 6.0))
    return found


def screws(dimensions: Dimensions) -> list[tuple[float, float]]:
    """Of the panel: in its corners."""
    x, y = dimensions.width_mm / 2 - SCREW_FROM_EDGE, dimensions.depth_mm / 2 - SCREW_FROM_EDGE
    return [(-x, -y), (x, -y), (x, y), (-x, y)]


def screws_below(dimensions: Dimensions) -> list[tuple[float, float]]:
    """Of the base: the Raspberry Pi has the corner at the back on the left, so that screw is beside it."""
    *others, (_, y) = screws(dimensions)
    return [*others, (BESIDE_PI, y)]


def posts(dimensions: Dimensions) -> dict[str, Shape]:
    """In the body: of full height where screws come from both sides, short where from below alone."""
    low, high = dimensions.sheet_mm, dimensions.panel_underside_mm
    rear = dimensions.inner_depth_mm / 2
    made = {f"post {n + 1}": box(x, y, POST, POST, low, high) for n, (x, y) in enumerate(screws(dimensions)[:3])}
    x, y = screws_below(dimensions)[3]
    made["the post beside the Pi"] = box(x, (y - POST / 2 + rear) / 2, POST, rear - y + POST / 2, low, low + SHORT_POST)
    return made


def hung_post(dimensions: Dimensions) -> dict[str, Shape]:
    """That above the Raspberry Pi, which grows out of its corner at 45 degrees."""
    x, y = screws(dimensions)[3]
    high = dimensions.panel_underside_mm
    return {"the post above the Pi": box(x, y, POST, POST, high - SHORT_POST, high)}


def labels() -> list[Label]:
    made = [Label(name.upper(), x, y - UNDER_KNOB) for name, (x, y) in POTS.items()]
    made += [Label(text, encoder_at(number)[0], encoder_at(number)[1] - UNDER_KNOB)
             for number, text in enumerate(ENCODERS)]
    return [*made, Label("OFF", SHUTDOWN[0], SHUTDOWN[1] - 11), Label("TETRAD", OLED[0], 66.0, 5.0)]
