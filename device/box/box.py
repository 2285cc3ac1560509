"""The box: everything together, from power-on to power-off.

    hands, keyboards, serial line --> Instrument --> engine, card       (engine and keyboards have threads of their own)
                                          |
                                      Decoding: processes that decode

One asyncio loop does all control. It turns a hundred times a second; whatever waits for a disk is done in threads.
"""

import asyncio
import contextlib
import logging
import os
import re
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
from device.box.catalogue import Catalogue
from device.box.decoder_process import Options
from device.box.decoding import Decoding
from device.box.hands import Choice, Hands, words
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
from device.preset import CORNERS, FACTORY_PRESET, Preset
from device.service.power import power_off
from device.synth_settings import RANGES, Synth

TICK_S = 0.01
SWITCH_S = 0.001  # between threads: edges of encoders are told by one of them, and are worth nothing late
STACK_BYTES = 1 << 20  # of a thread, whose memory is locked: eight times that, as usual, is worth a preset
SHOW_S = 0.1  # between two pictures for the display
FIRST_SOUND_S = 10.0  # then the box says that it is ready, sound or not: it can be reached
PAIRING_KEY_BYTES = 256
MOST_VOLUME = RANGES["volume"][2]

Corners = tuple[CornerChoice | None, ...]
NO_CORNERS: Corners = (None,) * CORNERS

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
        try:
            id = model_id(files.read_whole(decoder or FACTORY_DECODER, MAX_MODEL_BYTES))
        except TetradError as error:
            raise TetradError(f"[decoding] decoder: {error}") from error
        self._pairing_key = _pairing_key(settings.serial.pairing_key_file)
        files.make_folder(start.folder)
        self._lock = files.lock_folder(start.folder, "box")
        self._decoding = Decoding(Options(decoder, decoding.edge_tpu, decoding.worker_memory_mb << 20),
                                  decoding.workers, self._next_job, lambda *done: self._instrument.take(*done))
        self.store = Store(start.folder, settings.serial.most_presets, settings.serial.most_mb << 20)
        self._restored = (start.folder / state.FILE).exists()
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
        self._catalogue = Catalogue(self.store)
        self._base: Preset | None = None  # the preset as it was stored
        self._wanted: list[str] = []  # the preset that was chosen last, until it is loaded
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
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        try:
            self._begin()
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(part) for part in (
                    self._turn(), self._show(), self._decoding.run(), self._instrument.fetch(), self._first_sound(),
                    self._serve(), self._catalogue.run())]
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
        if self._restored:  # else the blend is where the knobs are
            self._hands.moved_elsewhere()
        self._load_first()

    def _end(self) -> None:
        self._panel.close()
        self._sound.stop()
        self._keeper.close()
        if self._din:
            self._din.close()
        os.close(self._lock)

    def _load_first(self) -> None:
        """The preset of the command line, or that which played last, or the first that can be read."""
        asked = self._start.preset
        if asked:
            self._state.changes = {}
            stored = asked in self.store.names() or not os.path.isfile(asked)
            base = self.store.read(asked) if stored else Preset.read(Path(asked))
            named = asked if stored else "".join(letter for letter in Path(asked).stem if letter.isprintable())
            self._load(named[:state.MOST_NAME], base, base, NO_CORNERS)
            return
        for name in dict.fromkeys([self._state.preset, *self.store.names()]):
            try:
                if name:
                    base = self.store.read(name)
                    self._load(name, base, *self._with_corners(base, self._state.corners))
                    return
            except TetradError as error:
                log.warning("%s", error)
            self._state.corners, self._state.changes = NO_CORNERS, {}
        base = Preset.read(FACTORY_PRESET)
        self._load(FACTORY_PRESET.stem, base, base, NO_CORNERS)

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
                if number < len(self._catalogue.names):
                    self.choose(self._catalogue.names[number])
            case Tempo(bpm):
                own = self._state.changes.get("tempo_bpm", self._own("tempo_bpm"))
                self._instrument.set("tempo_bpm", bpm or own)
            case BlendMoved(x, y):
                self._move(x, y, sent=True)
                self._hands.moved_elsewhere()
            case ParameterMoved(name, value):
                self._instrument.note(name, value)
                if name != "volume":
                    self._state.changes[name] = value
                elif self._own("volume") > 0:
                    self._state.volume = min(value / self._own("volume"), MOST_VOLUME)
                self._hands.set_elsewhere(name)
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
        served = server(self, self.store, self._pairing_key, self._reset)
        async with asyncio.TaskGroup() as group:
            for port in serial.ports:
                group.create_task(served.serve(port, serial.baud_hz))

    def _open_din(self) -> Any:
        port = self._settings.din_port()
        if not port:
            return None
        try:
            return open_din(port)
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

    def _with_corners(self, base: Preset, corners: Corners) -> tuple[Preset, Corners]:
        """A preset with the player's instruments in its corners, and those that there are."""
        found = list(corners)
        for number, choice in enumerate(corners):
            if choice:
                try:
                    base = base.with_corner(number, self.store.read(choice.preset), choice.corner)
                except TetradError as error:
                    log.warning("%s", error)
                    found[number] = None
        return base, tuple(found)

    def _load(self, name: str, base: Preset, preset: Preset, corners: Corners) -> None:
        """A preset, as it was stored and with these corners, and with the changes of the state."""
        self._state.preset, self._state.corners, self._base = name, corners, base
        changes = dict(self._state.changes)
        changes["volume"] = min(preset.synth.get("volume", 1.0) * self._state.volume, MOST_VOLUME)
        if self._midi.clock.bpm:
            changes["tempo_bpm"] = self._midi.clock.bpm
        self._instrument.load(name, preset, changes)
        self._hands.placed()
        log.info("preset %s", name)

    async def _load_named(self, name: str, keep: bool = False) -> None:
        """keep: with the corners and changes that the player has made. Raises TetradError."""
        async with self._loading:
            base = await asyncio.to_thread(self.store.read, name)
            wanted = self._state.corners if keep else NO_CORNERS
            preset, corners = await asyncio.to_thread(self._with_corners, base, wanted)
            if not keep:
                self._state.changes = {}
            self._load(name, base, preset, corners)

    async def _load_wanted(self) -> None:
        """What was chosen last: one who turns over many presets waits for none but the last."""
        while self._wanted:
            name = self._wanted[-1]
            try:
                await self._load_named(name)
            except TetradError as error:
                self._tell(error)
            finally:
                self._wanted = [] if self._wanted[-1] == name else self._wanted[-1:]

    async def _change_corner(self, number: int, choice: CornerChoice | None) -> None:
        async with self._loading:
            if base := self._base:
                wanted = (*self._state.corners[:number], choice, *self._state.corners[number + 1:])
                preset, corners = await asyncio.to_thread(self._with_corners, base, wanted)
                self._load(self._state.preset, base, preset, corners)

    def _tell(self, error: TetradError) -> None:
        log.warning("%s", error)
        self._hands.say(str(error), time.monotonic())

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        """Begins it; what goes wrong is said."""

        async def told() -> None:
            try:
                await what
            except TetradError as error:
                self._tell(error)

        task = asyncio.create_task(told())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- What hands do (device.box.hands.Hand).

    def set(self, name: str, value: float) -> None:
        """A setting of the sound; `volume` is the box's own, and turns every preset's."""
        if name == "volume":
            self._state.volume = value
            value = min(value * self._own("volume"), MOST_VOLUME)
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
        return self._catalogue.names

    def selected(self) -> str:
        return self._instrument.name

    def choices(self) -> list[Choice]:
        return self._catalogue.choices

    def corners(self) -> tuple[str, str, str, str]:
        preset = self._instrument.preset
        one, two, three, four = [corner.name for corner in preset.corners] if preset else [""] * CORNERS
        return one, two, three, four

    def choose(self, name: str) -> None:
        self._wanted.append(name)
        if len(self._wanted) == 1:
            self._do(self._load_wanted())

    def choose_corner(self, number: int, choice: CornerChoice | None) -> None:
        self._do(self._change_corner(number, choice))

    def save(self) -> str:
        """The preset as it is now, as one of the box's own; its name."""
        preset, names = self._instrument.preset, self._catalogue.names
        if preset is None:
            return ""
        base = re.sub("[^A-Za-z0-9 _-]", "", self._instrument.name).rstrip("0123456789 ")[:40].strip() or "Own"
        name = next(new for n in range(2, len(names) + 3) if (new := f"{base} {n}") not in names)
        names.append(name)  # it is taken from now on
        own = dict(preset.synth) | self._state.changes
        self._do(self._save(name, replace(preset, name=name, synth=Synth(**own))))
        return f"Saved as {name}"

    async def _save(self, name: str, preset: Preset) -> None:
        """A disk takes a while; what the player does meanwhile stays."""
        before, corners = self._instrument.name, self._state.corners
        try:
            await asyncio.to_thread(lambda: self.store.add(name, preset.to_bytes()))
        finally:
            self._catalogue.changed()
        async with self._loading:
            if self._instrument.name == before and not self._wanted:
                since = tuple(now if now != then else None
                              for now, then in zip(self._state.corners, corners, strict=True))
                self._state.changes = {key: value for key, value in self._state.changes.items()
                                       if preset.synth.get(key) != value}
                self._load(name, preset, *await asyncio.to_thread(self._with_corners, preset, since))

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

    def _own(self, name: str) -> float:
        """A setting as the preset has it."""
        return self._base.synth.get(name, RANGES[name][0]) if self._base else RANGES[name][0]

    # --- What comes over the line (device.serial_line.box.Box).

    async def select(self, name: str) -> None:
        await self._load_named(name)

    async def changed(self, name: str, removed: bool) -> None:
        self._catalogue.changed()
        if name == self._instrument.name and not removed:
            await self._load_named(name, keep=True)

    async def renamed(self, old: str, new: str) -> None:
        self._catalogue.changed()
        self._state.corners = tuple(choice and replace(choice, preset=new if choice.preset == old else choice.preset)
                                    for choice in self._state.corners)
        if self._instrument.name == old:
            self._instrument.name = self._state.preset = new

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
    try:
        key = files.read_whole(Path(file), PAIRING_KEY_BYTES).decode(errors="replace").strip()
    except TetradError as error:
        raise TetradError(f"[serial] pairing_key_file: {error}") from error
    if not key:
        raise TetradError(f"{file} holds no pairing key: write one into it, or take [serial] pairing_key_file away")
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
