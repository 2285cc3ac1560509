"""The real panel against stand-ins for its parts (panel_parts.py): what they say is events, what is missing a line.

On a kernel's own simulated GPIO chip it runs in tests/rig/.
"""

import os
import subprocess
import sys
import threading
import time

import pytest
from panel_parts import Header, Mcp3008, Ssd1306, emptied, install

from device.errors import TetradError
from device.panel.adc import Adc
from device.panel.display import View, draw
from device.panel.encoders import CLOCKWISE
from device.panel.events import KnobMoved, Light, Pressed, Turned
from device.panel.hardware import PiPanel
from device.panel.oled import Oled, connect, pages
from device.panel.parts import BUTTONS, ENCODERS, KNOBS, LED

WAIT_S = 5.0  # that a loaded machine may take


@pytest.fixture
def parts(monkeypatch):
    header, converter, display = Header(), Mcp3008(), Ssd1306()
    install(monkeypatch, header, converter, display)
    return header, converter, display


@pytest.fixture
def panel(parts):
    panel = PiPanel()
    yield panel
    panel.close()


def until(found, poll=None):
    """Polls until `found` of all the events holds."""
    events = []
    end_s = time.monotonic() + WAIT_S
    while not found(events):
        assert time.monotonic() < end_s, events
        events += poll() if poll else []
        time.sleep(0.005)
    return events


def turn(header, encoder, detents, told=True):
    a, b = ENCODERS[encoder]
    place = 0
    for _ in range(4 * abs(detents)):
        place = (place + (1 if detents > 0 else -1)) % 4
        for pin, level in ((a, CLOCKWISE[place] >> 1), (b, CLOCKWISE[place] & 1)):
            if header.levels[pin] != level:
                header.drive(pin, level, told)
        time.sleep(0.015)


def same(one, other):
    return one.tobytes() == other.tobytes()


def test_each_knob_is_read_from_its_channel(parts, panel):
    parts[1].readings = [100 * n + 50 for n in range(8)]
    until(lambda events: {e.name: round(e.value, 1) for e in events if isinstance(e, KnobMoved)} == {
        name: round((100 * n + 50 - 16) / 991, 1) for n, name in enumerate(KNOBS)}, panel.poll)
    assert panel.problems() == []


def test_each_encoder_turns_both_ways(parts, panel):
    until(lambda events: len(events) == 8, panel.poll)
    for encoder in range(4):
        turn(parts[0], encoder, 2)
        turn(parts[0], encoder, -1)
    events = until(lambda events: len(events) >= 4, panel.poll)
    assert events == [Turned(encoder, 1) for encoder in range(4)]


def test_detents_of_one_turn_are_all_counted(parts, panel):
    turn(parts[0], 1, 5)
    events = until(lambda events: any(isinstance(e, Turned) for e in events), panel.poll)
    assert sum(e.steps for e in events if isinstance(e, Turned)) >= 5


@pytest.mark.parametrize("direction", [1, -1])
def test_whose_edge_came_first_tells_the_direction_of_edges_told_together(parts, panel, direction):
    until(lambda events: len(events) == 8, panel.poll)
    first, second = ENCODERS[1][::direction]
    parts[0].levels[first] = parts[0].levels[second] = 0
    for pin in (first, second):
        parts[0].callbacks[pin](pin)
    for pin in (first, second):
        parts[0].drive(pin, 1)
    assert until(lambda events: events, panel.poll) == [Turned(1, direction)]


@pytest.mark.parametrize("button", BUTTONS)
def test_each_button_is_its_own(parts, panel, button):
    until(lambda events: len(events) == 8, panel.poll)
    parts[0].drive(BUTTONS[button], 0)
    time.sleep(0.05)
    panel.poll()
    parts[0].drive(BUTTONS[button], 1)
    assert until(lambda events: events, panel.poll) == [Pressed(button, False)]


def test_lost_edges_are_found(parts, panel):
    until(lambda events: len(events) == 8, panel.poll)

    def lose(pin, level):
        """A change without an edge; waits until it has been read twice, which is longer than bounce."""
        parts[0].drive(pin, level, told=False)
        read = parts[0].reads[pin]
        until(lambda _: parts[0].reads[pin] >= read + 2)

    lose(BUTTONS["corner2"], 0)
    assert panel.poll() == []
    lose(BUTTONS["corner2"], 1)
    assert until(lambda events: events, panel.poll) == [Pressed("corner2", False)]
    a, b = ENCODERS[0]
    for pin, level in ((a, 0), (b, 0), (a, 1), (b, 1)):
        lose(pin, level)
    assert until(lambda events: events, panel.poll) == [Turned(0, 1)]


def test_the_lamp_blinks(parts, panel):
    lamp = parts[0].outputs[LED]
    panel.light(Light.FAULT)
    until(lambda _: len(lamp) > 6)
    assert lamp[:5] == [0, 1, 0, 1, 0]
    panel.light(Light.READY)
    until(lambda _: lamp[-1] == 1)
    count = len(lamp)
    time.sleep(0.3)
    assert len(lamp) == count


def test_the_display_shows_the_newest_view(parts, panel):
    for n in range(50):
        panel.show(view := View("First", x=n / 50))
    until(lambda _: same(parts[2].picture, draw(view)))
    assert parts[2].on


def test_a_display_is_sent_only_what_is_new_and_no_more_than_15_a_second(parts, panel):
    until(lambda _: parts[2].frames)
    before, began_s = parts[2].frames, time.monotonic()
    for n in range(100):
        panel.show(View("First", voices=n))
        time.sleep(0.005)
    time.sleep(0.2)
    sent = parts[2].frames - before
    assert 2 <= sent <= 15 * (time.monotonic() - began_s) + 1
    for _ in range(20):
        panel.show(View("First", voices=99))
    time.sleep(0.2)
    assert parts[2].frames - before == sent


def test_nothing_of_the_panel_waits_for_a_slow_display(parts, monkeypatch):
    write = parts[2].i2c_rdwr
    monkeypatch.setattr(parts[2], "i2c_rdwr", lambda message: (time.sleep(0.3), write(message)))
    panel = PiPanel()
    spent_s = []
    for n in range(60):
        began_s = time.perf_counter()
        panel.show(View(voices=n))
        panel.light(Light.BUSY)
        panel.problems()
        panel.poll()
        spent_s.append(time.perf_counter() - began_s)
        time.sleep(0.005)
    panel.close()
    assert sorted(spent_s)[len(spent_s) // 2] < 0.001
    assert max(spent_s) < 0.25


def test_closing_leaves_lamp_and_display_dark_and_no_thread(parts):
    panel = PiPanel()
    panel.light(Light.READY)
    until(lambda _: parts[0].outputs[LED][-1] == 1 and parts[2].frames)
    panel.close()
    assert parts[0].outputs[LED][-1] == 0
    assert not parts[2].on
    assert parts[1].closed
    assert parts[0].cleaned == {LED, *BUTTONS.values(), *(pin for pair in ENCODERS for pin in pair)}
    assert not {"panel", "display"} & {thread.name for thread in threading.enumerate()}


def test_a_converter_that_goes_is_told_and_one_that_comes_back_is_used(parts, panel):
    until(lambda events: len(events) == 8, panel.poll)
    parts[1].there = False
    until(lambda _: panel.problems() == ["no knobs: the MCP3008 on SPI0 CE0 does not answer; check its wiring"])
    assert panel.poll() == []
    parts[1].failure = OSError(5, "Input/output error")
    time.sleep(0.05)
    parts[1].failure, parts[1].there = None, True
    parts[1].readings = [900] * 8
    assert len(until(lambda events: len(events) >= 8, panel.poll)) == 8
    assert panel.problems() == []


def test_a_display_that_goes_is_told_and_one_that_comes_back_is_used(parts, monkeypatch):
    monkeypatch.setattr("device.panel.oled.RETRY_S", 0.05)
    oled = Oled()
    until(lambda _: parts[2].frames)
    parts[2].there = False
    oled.show(View("one"))
    until(lambda _: oled.problem)
    assert oled.problem == "no display: I2C device not found on address: 0x3C; check its wiring"
    parts[2].there = True
    until(lambda _: not oled.problem)
    oled.show(view := View("two"))
    until(lambda _: same(parts[2].picture, draw(view)))
    oled.close()


@pytest.mark.filterwarnings("ignore:Image.Image.getdata:DeprecationWarning")  # luma's own packing
def test_a_page_is_packed_as_luma_packs_it(parts):
    device = connect()
    for view in (View("First", voices=3), View("Keys", x=0.0, y=1.0, decoded=0.3)):
        image = draw(view)
        super(type(device), device).display(image)
        assert bytes(parts[2].memory) == pages(image)
        parts[2].memory[:] = bytes(1_024)
        device.display(image)
        assert same(parts[2].picture, image)


@pytest.mark.parametrize(("missing", "line"), [
    ("spidev", "no knobs: spidev is missing; pip install '.[pi]'"),
    ("RPi", "no encoders, buttons and lamp: RPi is missing; pip install '.[pi]'"),
    ("smbus2", "no display: smbus2 is missing; pip install '.[pi]'"),
])
def test_a_box_without_a_module_does_with_the_rest(parts, monkeypatch, missing, line):
    emptied(monkeypatch, missing)
    began_s, panel = time.monotonic(), PiPanel()
    until(lambda _: panel.problems() == [line])
    if missing != "spidev":
        until(lambda events: len(events) == 8, panel.poll)
    if missing != "RPi":
        until(lambda _: time.monotonic() > began_s + 0.2, panel.poll)  # it has seen the button open
        parts[0].drive(BUTTONS["corner0"], 0)
        assert Pressed("corner0", True) in until(lambda e: Pressed("corner0", True) in e, panel.poll)
    if missing != "smbus2":
        until(lambda _: parts[2].frames)
    panel.show(View())
    panel.light(Light.BUSY)
    panel.close()


@pytest.mark.parametrize("missing", ["PIL", "luma.core", "luma.oled"])
def test_a_box_on_which_nothing_can_draw_has_its_other_parts(missing):
    code = (f"import sys, time\nsys.modules[{missing!r}] = None\nfrom device.panel.hardware import PiPanel\n"
            "panel = PiPanel()\nwhile not any('display' in line for line in panel.problems()): time.sleep(0.01)\n"
            "print(panel.problems()[-1], panel.poll())\npanel.close()")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    assert result.stdout.startswith(f"no display: {missing}")
    assert result.stdout.endswith(" is missing; pip install '.[pi]' []\n")


def test_pins_that_another_holds_cost_their_control_alone(parts):
    a, b = ENCODERS[2]
    parts[0].refused = {a: Exception("'GPIO busy'"), LED: RuntimeError("Failed to add edge detection")}
    panel = PiPanel()
    assert panel.problems() == [
        f"encoder 2, GPIO {a} and {b}: GPIO busy; another program holds it: stop that",
        f"lamp, GPIO {LED}: Failed to add edge detection; RPi.GPIO cannot on this kernel: pip uninstall RPi.GPIO, then "
        "pip install rpi-lgpio"]
    panel.light(Light.READY)
    turn(parts[0], 3, 1)
    assert Turned(3, 1) in until(lambda events: Turned(3, 1) in events, panel.poll)
    panel.close()


@pytest.mark.parametrize(("failure", "line"), [
    (FileNotFoundError(2, "No such file or directory"), "no knobs: /dev/spidev0.0: No such file or directory; switch "
                                                        "SPI on: sudo raspi-config nonint do_spi 0"),
    (PermissionError(13, "Permission denied"), "no knobs: /dev/spidev0.0: Permission denied; sudo adduser $USER spi, "
                                               "and log in again"),
    (OSError(5, "Input/output error"), "no knobs: /dev/spidev0.0: Input/output error"),
])
def test_a_bus_that_cannot_be_opened_says_what_to_do(parts, failure, line):
    parts[1].failure = failure
    with pytest.raises(TetradError) as error:
        Adc()
    assert str(error.value) == line


def test_every_reading_of_the_converter_is_understood(parts):
    adc = Adc()
    for first in range(0, 1_024, 8):
        parts[1].readings = list(range(first, first + 8))
        assert adc.read() == tuple(range(first, first + 8))


def test_the_real_gpio_module_leaves_the_working_folder_as_it_is():
    """lgpio would put a FIFO in it, or go elsewhere; /proc takes no FIFO."""
    pytest.importorskip("lgpio")
    code = ("import os\nfrom device.panel.pins import _load\nfrom device.errors import TetradError\n"
            "os.chdir('/proc')\ntry:\n _load()\nexcept TetradError as error:\n print(error)\n"
            "print(os.getcwd(), os.environ.get('LG_WD'))")
    environment = {name: value for name, value in os.environ.items() if name != "LG_WD"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                            env=environment | {"RPI_LGPIO_REVISION": "c03111", "RPI_LGPIO_CHIP": "99"})
    assert result.stderr == ""
    assert result.stdout == ("no encoders, buttons and lamp: can not open gpiochip; see that /dev/gpiochip* is there "
                             "and that you are in the group gpio\n/proc None\n")
