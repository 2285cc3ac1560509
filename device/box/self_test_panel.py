"""Checks of the panel: each control by itself, at rest and in a hand, so that a wrong wire is called by its name."""

from collections import Counter

from device.box.self_test_bench import Bench, Sweep, Verdict, failed, not_here, ok, wire
from device.panel.controls import READ_PERIOD_S
from device.panel.events import Event, Light, Pressed, Turned
from device.panel.knobs import END_READINGS, FULL_SCALE, REST_CHANGE
from device.panel.parts import BUTTONS, I2C_ADDRESS, KNOBS
from device.panel.view import View

DISPLAY_S = 10.0  # until a display has its first picture: what draws is slow to import on a small board
REST_S = 1.0  # that all is watched at rest
MOST_SPREAD = 2 * REST_CHANGE  # readings between which nine of ten lie; what is more turns a knob that nobody turns
SPIKE_READINGS = 40  # off the middle,
MOST_SPIKES = 0.05  # of all readings: two of five that are wrong get past the median
MOVED_READINGS = 100  # a knob that was turned, and no noise
SURE_S = 5.0  # that a knob stays at the end which should be the first, until its ends are taken for swapped
CLICKS = 3
A, B = 0b10, 0b01  # an encoder's contacts, as in its levels
PLACES = ("top left", "top right", "bottom left", "bottom right")
UNNAMED = "the script does not name it"


# --- What answers.

def panel(bench: Bench) -> Verdict | None:
    return None if bench.has_panel else not_here("no Raspberry Pi's, or [panel] kind is none; a script plays one: "
                                                 "--panel-fake SCRIPT")


def pins(bench: Bench) -> Verdict | None:
    """Of all that hangs on the header's GPIOs; what a single one lacks is told with it."""
    if not bench.has_panel:
        return None
    bench.once(at_rest)
    problem = bench.problem("no encoders", "lamp,")
    return failed(problem) if problem else ok("encoders, buttons and lamp can be had")


def display(bench: Bench) -> Verdict | None:
    if not bench.has_panel:
        return None
    bench.panel.show(View(preset="Tetrad self-test", corners=PLACES, message="frame and text"))
    bench.watch(DISPLAY_S, lambda: bench.panel.shows() or bool(bench.problem("no display")))
    if problem := bench.problem("no display"):
        hint = "wiring" in problem or "address" in problem
        return failed(problem + f": {wire('oled', 'SCK', 'SDA', 'VDD', 'GND')}" * hint)
    if not bench.panel.shows():
        return failed(f"took no picture within {DISPLAY_S:g} s: {wire('oled', 'SCK', 'SDA', 'VDD', 'GND')}")
    return ok(f"answers at 0x{I2C_ADDRESS:02X}")


def picture(bench: Bench) -> Verdict | None:
    if not bench.has_panel or not bench.panel.shows():
        return None
    return bench.asked("Does the display show a whole frame with text in it, and text in all four corners?",
                       "shown wrongly though it answers: it must be an SSD1306 of 128 x 64 (an SH1106 is two columns "
                       f"off); if it is dark, see its supply, {wire('oled', 'VDD')}", "frame and text")


def converter(bench: Bench) -> Verdict | None:
    if not bench.has_panel:
        return None
    bench.once(at_rest)
    if problem := bench.problem("no knobs"):
        wires = wire("adc", "CS", "DIN", "DOUT", "CLK", "VDD", "DGND")
        return failed(problem + f": {wires}" * ("wiring" in problem))
    if not any(sweep.readings for sweep in bench.once(at_rest).values()):
        return not_here("the script names no knob") if bench.faked else failed("gives no readings: try again")
    return ok("answers")


# --- Knobs.

def at_rest(bench: Bench) -> dict[str, Sweep]:
    """What the knobs read while nobody turns them."""
    bench.probe.begin()
    bench.watch(REST_S)
    return bench.probe.sweeps


def knob_at_rest(bench: Bench, name: str) -> Verdict | None:
    readings = sorted(bench.once(at_rest)[name].readings)
    if not readings:
        answers = any(sweep.readings for sweep in bench.once(at_rest).values())
        return not_here(UNNAMED) if bench.faked and answers else None  # the converter's verdict has told
    middle = readings[len(readings) // 2]
    near = [reading for reading in readings if abs(reading - middle) <= SPIKE_READINGS]
    spikes = len(readings) - len(near)
    spread = near[len(near) * 95 // 100] - near[len(near) * 5 // 100]
    if spikes > MOST_SPIKES * len(readings):
        return failed(f"{spikes} of {len(readings)} readings are far off {middle} though nobody turns it: "
                      f"{_wiper(name)} has a bad joint or is off")
    if spread > MOST_SPREAD:
        return failed(f"reads {near[0]} to {near[-1]} though nobody turns it: {_wiper(name)} is off, or runs beside "
                      "a line that switches")
    end = ", which is an end" * (middle in (0, FULL_SCALE))
    return ok(f"stands at {middle} of {FULL_SCALE}{end}, nine of ten readings within {spread}")


def knob_turned(bench: Bench, name: str) -> Verdict | None:
    rest = bench.once(at_rest)
    if not rest[name].readings:
        return None
    bench.probe.begin()
    sweeps = bench.probe.sweeps
    own = sweeps[name]

    def others() -> list[str]:
        """Knobs that were turned, and were quiet at rest."""
        return [other for other in KNOBS if other != name and sweeps[other].span > MOVED_READINGS > rest[other].span]

    def done(_: list[Event]) -> bool:
        wrong = own.ends == "hl" and own.since_end * READ_PERIOD_S > SURE_S
        instead = own.span < MOVED_READINGS and any(len(sweeps[other].ends) > 1 for other in others())
        return "lh" in own.ends or wrong or instead

    def live() -> str:
        way = "to the right" if own.ends.endswith("l") else "to the left"
        return f"{name} {own.at if own.at is not None else '-':>4}  of 0 to {FULL_SCALE}  {way}"

    bench.wait(f"Turn {name} slowly to its left end, then to its right end.", done, live)
    if own.span < MOVED_READINGS:
        return failed(_unturned(name, own, others()))
    if "lh" not in own.ends and "hl" in own.ends:
        return failed(f"turning left came as right: pins 1 (GND) and 3 (3V3) of pot_{name} are swapped (or it was "
                      "turned right first: run it again)")
    if "lh" not in own.ends:
        return failed(f"went from {own.least} to {own.most} only, and not to both ends of {FULL_SCALE}: see pins 1 "
                      f"(GND) and 3 (3V3) of pot_{name}; it must be linear, 10 kOhm")
    if own.breaks:
        return failed(f"broke off {own.breaks} times while it was turned: {_wiper(name)} has a bad joint, or the "
                      "track is worn; turn it slowly and see")
    if along := others():
        return failed(f"{' and '.join(along)} moved along: {_wiper(name)} touches that of {along[0]}, or that one "
                      "is off")
    return ok(f"from {own.least} to {own.most} without a break")


def _unturned(name: str, own: Sweep, others: list[str]) -> str:
    if others:
        return (f"{others[0]} moved instead: {_wiper(name)} and {_wiper(others[0])} are swapped, or the "
                "wrong one was turned")
    text = f"no turn was seen, it reads {own.at}: "
    if own.at is not None and own.at <= END_READINGS:
        return text + f"pin 3 (3V3) of pot_{name} is off, or its wiper touches GND; then {_wiper(name)}"
    if own.at is not None and own.at >= FULL_SCALE - END_READINGS:
        return text + f"pin 1 (GND) of pot_{name} is off, or its wiper touches 3V3; then {_wiper(name)}"
    return text + f"wires of {_wiper(name)}"


def _wiper(name: str) -> str:
    channel = f"CH{KNOBS.index(name)}"
    return f"the {wire(f'pot_{name}', 'wiper')} at {channel} (pin {KNOBS.index(name) + 1}) of the MCP3008"


# --- Encoders and buttons.

def encoder_at_rest(bench: Bench, number: int) -> Verdict | None:
    bench.once(at_rest)
    if problem := bench.problem(f"encoder {number},", f"corner{number},"):
        return failed(problem)
    levels, pushed = bench.probe.levels.get(number), bench.probe.closed.get(f"corner{number}")
    if levels is None and pushed is None:
        return not_here(UNNAMED) if bench.faked and bench.has_panel else None  # the pins' verdict has told
    closed = [contact for contact, bit in (("A", A), ("B", B)) if levels is not None and not levels & bit]
    if closed:
        return failed(f"{wire(f'encoder{number}', *closed)} closed at rest: turn it to a click; if it stays so, "
                      "that touches GND")
    if pushed:
        return failed(f"{_stuck(f'encoder{number}', 'D')}")
    return ok("contacts open")


def button_at_rest(bench: Bench, name: str) -> Verdict | None:
    bench.once(at_rest)
    if problem := bench.problem(f"{name},"):
        return failed(problem)
    closed = bench.probe.closed.get(name)
    if closed is None:
        return not_here(UNNAMED) if bench.faked and bench.has_panel else None
    return failed(_stuck(name)) if closed else ok("open")


def _stuck(part_name: str, *names: str) -> str:
    return f"pressed though nobody presses it: {wire(part_name, *names)} touch{'es' * bool(names)} GND, or it is stuck"


def encoder_turned(bench: Bench, number: int) -> Verdict | None:
    bench.once(at_rest)
    if number not in bench.probe.levels:
        return None
    name = f"encoder{number}"
    bench.probe.begin()
    right = _turns(bench, number, f"Turn the encoder at the {PLACES[number]} right, {CLICKS} clicks.")
    if right[number, 1] < CLICKS:
        if right[number, -1] >= CLICKS:
            return failed(f"turning right came as left: {wire(name, 'A', 'B')} are swapped")
        return failed(_unseen(bench, number, right))
    bench.probe.begin()
    left = _turns(bench, number, f"Now left, {CLICKS} clicks.", wanted=-1)
    if left[number, -1] >= CLICKS:
        return ok("right and left")
    if left[number, 1] >= CLICKS:
        return failed(f"turning left came as right, too: bad joint of {wire(name, 'A', 'B', 'C')}")
    return failed(_unseen(bench, number, left))


def _turns(bench: Bench, number: int, todo: str, wanted: int = 0) -> Counter[tuple[int, int]]:
    """Steps by encoder and direction, until one has enough of them; `wanted`: until this one has, that way."""
    steps: Counter[tuple[int, int]] = Counter()

    def done(events: list[Event]) -> bool:
        for event in events:
            if isinstance(event, Turned):
                steps[event.encoder, 1 if event.steps > 0 else -1] += abs(event.steps)
        if wanted:
            return steps[number, wanted] >= CLICKS
        return any(count >= CLICKS for count in steps.values())

    bench.wait(todo, done, lambda: f"right {steps[number, 1]}, left {steps[number, -1]}")
    return steps


def _unseen(bench: Bench, number: int, steps: Counter[tuple[int, int]]) -> str:
    """Why clicks did not come, by the contacts that changed."""
    name, probe = f"encoder{number}", bench.probe
    both = wire(name, "A", "B")
    instead = [other for other, changed in probe.changed.items() if other != number and changed]
    changed = probe.changed[number]
    if instead and not changed:
        return (f"encoder{instead[0]} turned instead: {both} and {wire(f'encoder{instead[0]}', 'A', 'B')} are swapped, "
                "or the wrong one was turned")
    if changed in (A, B):
        missing, bit = ("B", B) if changed == A else ("A", A)
        if f"corner{number}" in probe.pushed:
            return f"its push closed while it was turned: {wire(name, missing, 'D')} are swapped"
        if instead:
            return f"{wire(name, missing)} is swapped with one of {wire(f'encoder{instead[0]}', 'A', 'B')}"
        how = "is off" if probe.levels[number] & bit else "touches GND"
        return f"of its contacts only one changed: {wire(name, missing)} {how}"
    if changed:
        seen = sum(count for (encoder, _), count in steps.items() if encoder == number)
        return f"only {seen} steps were seen: turn it farther, or a bad joint of {wire(name, 'A', 'B', 'C')}"
    pushed = f"; {' and '.join(sorted(probe.pushed))} closed instead" if probe.pushed else ""
    return f"no turn was seen{pushed}: wires of {wire(name, 'A', 'B', 'C')}"


def pressed(bench: Bench, name: str, called: str) -> Verdict | None:
    """Of a button, open until now: what is stuck was told at rest."""
    bench.once(at_rest)
    if bench.probe.closed.get(name, True):
        return None
    part_name, pins = (f"encoder{name[-1]}", ("D", "E")) if name != "shutdown" else (name, ())
    bench.probe.begin()
    seen: list[str] = []

    def done(events: list[Event]) -> bool:
        seen.extend(event.button for event in events if isinstance(event, Pressed))
        return bool(seen)

    bench.wait(f"Press {called} once, for a moment.", done)
    if name in seen:
        return ok("closes and opens")
    if seen:
        other = seen[0]
        wires = wire(f"encoder{other[-1]}", "D") if other != "shutdown" else wire(other)
        return failed(f"{other} was pressed instead: {wire(part_name, *pins[:1])} and {wires} are swapped, or the "
                      "wrong one was pressed")
    if name in bench.probe.pushed:
        return failed(f"closes, but does not open again: {wire(part_name, *pins[:1])}")
    return failed(f"no press was seen: wires of {wire(part_name, *pins)}")


def lamp(bench: Bench) -> Verdict | None:
    if not bench.has_panel or bench.problem("no encoders", "lamp,"):
        return None
    bench.panel.light(Light.BUSY)
    try:
        return bench.asked("Does the lamp blink?", f"wires of {wire('led_series', '1')} and of the lamp, "
                           f"{wire('led', 'anode', 'cathode')}: its longer leg is the anode", "blinks")
    finally:
        bench.panel.light(Light.OFF)


ENCODER_NAMES = tuple(f"encoder{number} {place}" for number, place in enumerate(PLACES))
PUSHES = {name: "the shutdown button" if name == "shutdown" else f"the encoder at the {PLACES[int(name[-1])]}"
          for name in BUTTONS}
