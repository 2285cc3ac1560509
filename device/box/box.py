"""The box: everything together, from power-on to power-off.

    hands, keyboards, serial line --> Instrument --> engine, card       (engine and keyboards have threads of their own)
                                          |
                                      Decoding: processes that decode

One asyncio loop does all control. It turns a hundred times a second; whatever waits for a disk is done in threads.
"""

import asyncio
import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from device import files
from device.box import notify, picture, state
from device.box.bank_cache import BankCache
from device.box.decoder_process import Options
from device.box.decoding import Decoding
from device.box.hands import Choice, Hands, list_choices, words
from device.box.instrument import Instrument, Memory
from device.box.midi_control import (
    BlendMoved,
    ChoosePreset,
    Learned,
    MidiControl,
    ParameterMoved,
    Plugged,
    Tempo,
    Unplugged,
)
from device.box.report import Report
from device.box.settings import Settings
from device.box.sound import LOWER, Sound
from device.box.state import CornerChoice
from device.box.store import Store
from device.box.thru import Thru, open_din
from device.errors import TetradError
from device.model_file import FACTORY_DECODER, MAX_MODEL_BYTES, model_id
from device.panel.events import Ended, Light, Panel
from device.panel.view import View
from device.preset import CORNERS, Preset
from device.service.power import power_off

TICK_S = 0.01
SWITCH_S = 0.001  # between threads: edges of encoders are told by one of them, and are worth nothing late
STACK_BYTES = 1 << 20  # of a thread, whose memory is locked: eight times that, as usual, is worth a preset
SHOW_S = 0.1  # between two pictures for the display
FIRST_SOUND_S = 10.0  # then the box says that it is ready, sound or not: it can be reached
PAIRING_KEY_BYTES = 256

log = logging.getLogger("tetrad")


@dataclass(frozen=True)
class Start:
    """What the command line says beside the settings: a preset's name, or a file of one."""

    folder: Path
    preset: str = ""


class Box:
    """`run` is all that it does."""

    def __init__(self, settings: Settings, start: Start, panel: Panel) -> None:
        self._settings, self._start, self._panel = settings, start, panel
        decoding = settings.decoding
        decoder = Path(decoding.decoder) if decoding.decoder else None
        id = model_id(files.read_whole(decoder or FACTORY_DECODER, MAX_MODEL_BYTES))
        files.make_folder(start.folder)
        self._decoding = Decoding(Options(decoder, decoding.edge_tpu, decoding.worker_memory_mb << 20),
                                  decoding.workers, self._next_job, lambda *done: self._instrument.take(*done))
        self.store = Store(start.folder, settings.serial.most_presets, settings.serial.most_mb << 20)
        self._state = state.load(start.folder)
        self._keeper = state.Keeper(start.folder, self._state)
        self._din = self._open_din()
        self._sound = Sound(settings, self._din and self._din.fileno())
        self._thru = Thru(self._din.fileno()) if self._din and settings.midi.thru else None
        self._instrument = Instrument(
            self._sound.engine, BankCache(start.folder / "banks", decoding.cache_mb << 20),
            Memory(decoding.memory_mb << 20, decoding.pitch_step), self._decoding.wake)
        self._instrument.use_decoder(id)
        self._midi = MidiControl(self._state.controllers, programs=settings.midi.program_change,
                                 clock=settings.midi.clock)
        if settings.midi.mpe_members:
            self._midi.set_zone(LOWER, settings.midi.mpe_members)
        self._hands = Hands(self, settings)
        self._choices: list[Choice] = []
        self._digest = ""  # of the preset as it is stored
        self._not_copied = 0
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loading = asyncio.Lock()
        self._fault = ""
        self._timbre: tuple[object, Any] = (None, None)
        self._report = Report(start.folder, self._sound, self._instrument, self._decoding)

    # --- From beginning to end.

    async def run(self) -> None:
        """Until it is stopped: by SIGTERM or SIGINT, by the panel, or by the line. Raises TetradError where it cannot
        begin."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            self._begin()
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(part) for part in (
                    self._turn(), self._show(), self._decoding.run(), self._instrument.fetch(), self._first_sound(),
                    self._serve())]
                await self._stop.wait()
                notify.stopping()
                self._panel.light(Light.STOPPING)
                for part in parts:
                    part.cancel()
        finally:
            self._end()

    def _begin(self) -> None:
        self._sound.start()
        self._midi.map.apply(self._sound.keyboard)
        self._move(self._state.x, self._state.y)
        changes = dict(self._state.changes)
        try:
            self._load(*self._first_preset(), changes)
        except TetradError as error:
            if self._start.preset:
                raise
            log.warning("%s", error)
            name = self.store.names()[0]
            self._state.corners = (None,) * CORNERS
            self._load(name, self.store.read(name), {})

    def _end(self) -> None:
        self._panel.close()
        self._sound.stop()
        self._keeper.close()
        if self._din:
            self._din.close()

    def _first_preset(self) -> tuple[str, Preset]:
        """That of the command line, or that which played last."""
        asked = self._start.preset
        if asked and asked not in self.store.names() and Path(asked).is_file():
            return Path(asked).stem, Preset.read(Path(asked))
        if asked:
            self._state.corners, self._state.changes = (None,) * CORNERS, {}
        name = asked or self._state.preset or self.store.names()[0]
        preset = self.store.read(name)
        self._digest = preset.digest
        return name, self._with_corners(preset)

    async def _turn(self) -> None:
        watchdog = notify.Watchdog(lambda: int(self._sound.meters()["blocks"]))
        while True:
            now_s = time.monotonic()
            events = self._panel.poll()
            self._hands.take(events, now_s)
            if any(isinstance(event, Ended) for event in events):
                self._stop.set()
            polled = self._sound.keyboard.poll()
            if self._thru:
                self._thru.take(polled)
                self._thru.turn()
            for action in self._midi.take(polled, time.monotonic_ns()):
                self._act(action, now_s)
            lost = self._sound.keyboard.meters()["not_copied"]
            if lost != self._not_copied:
                self._not_copied = lost
                self._midi.forget_held()
            self._instrument.tick((key.key for key in self._midi.held()), (key.key for key in self._midi.recent()),
                                  now_s)
            self._sound.tick(now_s)
            self._keeper.tick(now_s)
            watchdog.tick(now_s)
            await asyncio.sleep(TICK_S)

    def _act(self, action: object, now_s: float) -> None:
        """What came by MIDI."""
        match action:
            case ChoosePreset(number):
                names = self.store.names()
                if number < len(names):
                    self.choose(names[number])
            case Tempo(bpm):
                preset = self._instrument.preset
                self._instrument.set("tempo_bpm", bpm or (preset.synth if preset else {}).get("tempo_bpm", 120.0))
            case BlendMoved(x, y):
                self._move(x, y, sent=True)
                self._hands.placed()
            case ParameterMoved(name, value):
                self._instrument.note(name, value)
                self._state.changes[name] = value
                self._hands.placed()
                self._hands.say(words(name, value), now_s)
            case Learned(parameter, controller):
                self._midi.map.apply(self._sound.keyboard)
                self._hands.say(f"CC {controller}: {words(parameter)}", now_s)
                log.info("controller %d sets %s", controller, parameter)
            case Plugged(name):
                log.info("keyboard %s", name)
                self._hands.say(name, now_s)
            case Unplugged(name):
                log.info("keyboard %s is gone", name)

    async def _show(self) -> None:
        """The display, the lamp, and systemd's line."""
        await self._list_choices()
        said = ""
        while True:
            faults = self.faults()
            if (fault := faults[0] if faults else "") != self._fault:
                self._fault = fault
                if fault:
                    log.warning("%s", fault)
            decoded, cells = self._instrument.progress()
            self._panel.show(self._view(decoded / max(cells, 1)))
            busy = self._instrument.pad is None or decoded < cells
            self._panel.light(Light.FAULT if fault else Light.BUSY if busy else Light.READY)
            status = f"{self._instrument.name}, {100 * decoded // max(cells, 1)} % decoded{fault and '; ' + fault}"
            if status != said:
                said = status
                notify.status(status)
            await asyncio.sleep(SHOW_S)

    def _view(self, decoded: float) -> View:
        menu = self._hands.menu
        x, y = self._instrument.point
        return View(preset=self._instrument.name, corners=self.corners(), x=x, y=y, timbre=self._picture(),
                    decoded=decoded, voices=self._sound.engine.meters()["voices"], fault=self._fault,
                    message=self._hands.message(time.monotonic()),
                    menu=tuple(menu.names) if menu else (), selected=menu.selected if menu else None)

    def _picture(self) -> Any:
        """The present timbre's; made anew where another sound is the nearest."""
        pad = self._instrument.pad
        sound = pad.heard(key.key for key in self._midi.recent()) if pad else None
        if sound is not self._timbre[0]:
            self._timbre = sound, picture.timbre(sound.sound) if sound else None
        return self._timbre[1]

    async def _first_sound(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._instrument.plays(), FIRST_SOUND_S)
        log.info("ready after %.1f s", self._report.uptime_s())
        notify.ready()

    async def _serve(self) -> None:
        """The serial line; its library takes a while to load, so sound comes first."""
        serial = self._settings.serial
        if not serial.ports:
            return
        await asyncio.wait([asyncio.create_task(self._instrument.plays())], timeout=FIRST_SOUND_S)
        server = await asyncio.to_thread(_serial_server)
        served = server(self, self.store, _pairing_key(serial.pairing_key_file), self._reset)
        async with asyncio.TaskGroup() as group:
            for port in serial.ports:
                group.create_task(served.serve(port, serial.baud_hz))

    def _open_din(self) -> Any:
        if not self._settings.midi.din:
            return None
        try:
            return open_din(self._settings.midi.din)
        except TetradError as error:
            log.warning("%s", error)
            return None

    def faults(self) -> list[str]:
        """What does not work now, a line each, the gravest first."""
        found = [self._sound.problem(), self._decoding.problem, self._thru.problem if self._thru else ""]
        return [fault for fault in [*found, *self._panel.problems()] if fault]

    # --- Presets.

    def _next_job(self) -> Any:
        return self._instrument.next_job()

    def _load(self, name: str, preset: Preset, changes: dict[str, float]) -> None:
        self._state.preset, self._state.changes = name, changes
        scaled = dict(changes)
        scaled["volume"] = min(changes.get("volume", preset.synth.get("volume", 1.0)) * self._state.volume, 2.0)
        self._instrument.load(name, preset, scaled)
        self._hands.placed()
        log.info("preset %s", name)

    def _with_corners(self, preset: Preset) -> Preset:
        """With the instruments that the player has put in its corners; one that is there no more is left out."""
        for number, choice in enumerate(self._state.corners):
            if choice is None:
                continue
            try:
                preset = preset.with_corner(number, self.store.read(choice.preset), choice.corner)
            except TetradError as error:
                log.warning("%s", error)
                self._set_corner(number, None)
        return preset

    def _set_corner(self, number: int, choice: CornerChoice | None) -> None:
        corners = list(self._state.corners)
        corners[number] = choice
        self._state.corners = tuple(corners)

    async def _load_named(self, name: str, keep: bool) -> None:
        """keep: with the corners and changes that the player has made. Raises TetradError."""
        async with self._loading:
            preset = await asyncio.to_thread(self.store.read, name)
            if not keep:
                self._state.corners = (None,) * CORNERS
            self._digest = preset.digest
            preset = await asyncio.to_thread(self._with_corners, preset)
            self._load(name, preset, dict(self._state.changes) if keep else {})

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        """Begins it; what goes wrong is said."""

        async def told() -> None:
            try:
                await what
            except TetradError as error:
                log.warning("%s", error)
                self._hands.say(str(error), time.monotonic())

        task = asyncio.create_task(told())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _list_choices(self) -> None:
        self._choices = await asyncio.to_thread(list_choices, self.store)

    # --- What hands do (device.box.hands.Hand).

    def set(self, name: str, value: float) -> None:
        """A setting of the sound; `volume` is the box's own, and turns every preset's."""
        if name == "volume":
            self._state.volume = value
            value *= self._own("volume", 1.0)
        else:
            self._state.changes[name] = value
        self._instrument.set(name, value)

    def blend(self, x: float, y: float) -> None:
        self._move(x, y)

    def value(self, name: str) -> float:
        return self._state.volume if name == "volume" else self._instrument.settings[name]

    def point(self) -> tuple[float, float]:
        return self._instrument.point

    def names(self) -> list[str]:
        return self.store.names()

    def selected(self) -> str:
        return self._instrument.name

    def choices(self) -> list[Choice]:
        return self._choices

    def corners(self) -> tuple[str, str, str, str]:
        preset = self._instrument.preset
        one, two, three, four = [corner.name for corner in preset.corners] if preset else [""] * CORNERS
        return one, two, three, four

    def choose(self, name: str) -> None:
        self._do(self._load_named(name, keep=False))

    def choose_corner(self, number: int, choice: CornerChoice | None) -> None:
        self._set_corner(number, choice)
        self._do(self._load_named(self._instrument.name, keep=True))

    def save(self) -> str:
        """The preset as it is now, as one of the box's own; its name."""
        preset, names = self._instrument.preset, self.store.names()
        if preset is None:
            return ""
        base = self._instrument.name.rstrip("0123456789 ")[:40] or "Own"
        name = next(new for n in range(2, len(names) + 3) if (new := f"{base} {n}") not in names)
        own = dict(preset.synth) | self._state.changes
        self._do(self._save(name, replace(preset, name=name, synth=type(preset.synth)(**own))))
        return f"Saved as {name}"

    async def _save(self, name: str, preset: Preset) -> None:
        await asyncio.to_thread(lambda: self.store.add(name, preset.to_bytes()))
        await self._list_choices()
        await self._load_named(name, keep=False)

    def learn(self, parameter: str) -> None:
        self._midi.map.learn(parameter)

    def panic(self) -> None:
        self._instrument.panic()
        self._midi.forget_held()

    def power_off(self) -> None:
        """Asks the system, which then ends the box; or ends where there is nobody to ask."""
        if not power_off():
            self._stop.set()

    def about(self) -> str:
        return self._report.about()

    def _move(self, x: float, y: float, sent: bool = False) -> None:
        self._state.x, self._state.y = x, y
        self._instrument.move(x, y, sent)
        self._midi.set_blend(x, y)
        if not sent:
            self._sound.keyboard.set_blend(x, y)

    def _own(self, name: str, first: float) -> float:
        """A setting as the preset has it."""
        preset = self._instrument.preset
        return preset.synth.get(name, first) if preset else first

    # --- What comes over the line (device.serial_line.box.Box).

    async def select(self, name: str) -> None:
        await self._load_named(name, keep=False)

    async def changed(self, name: str, removed: bool) -> None:
        await self._list_choices()
        if removed:
            return
        if name == self._instrument.name:
            await self._load_named(name, keep=True)
        elif (self._instrument.name not in self.store.names()
              and (await asyncio.to_thread(self.store.read, name)).digest == self._digest):  # it was renamed
            self._instrument.name = self._state.preset = name

    def progress(self) -> dict[str, object]:
        return self._report.progress()

    def status(self) -> dict[str, object]:
        return self._report.status(self.faults())

    async def _reset(self) -> None:
        self._stop.set()


def _serial_server() -> Any:
    from device.serial_line.server import SerialServer

    return SerialServer


def _pairing_key(file: str) -> str:
    if not file:
        return ""
    key = files.read_whole(Path(file), PAIRING_KEY_BYTES).decode(errors="replace").strip()
    if not key:
        raise TetradError(f"{file} holds no pairing key: write one into it, or take pairing_key_file away")
    return key


def run(settings: Settings, start: Start, panel: Panel) -> None:
    """A box, until it ends. Raises TetradError."""
    sys.setswitchinterval(SWITCH_S)
    threading.stack_size(STACK_BYTES)
    box = Box(settings, start, panel)
    try:
        asyncio.run(box.run())
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(error: BaseException) -> BaseException:
    """What went wrong first, of all that ended with it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
