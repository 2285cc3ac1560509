"""The preset that plays: its sounds, as far as they are decoded, its settings, and what the player changed of them."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from device import _engine
from device._engine import Engine
from device.bake import GRID
from device.box.bank_cache import BankCache
from device.box.decoder_process import Sounds
from device.box.pad import Job, Pad
from device.errors import TetradError
from device.preset import Preset
from device.render import HIGHEST_KEY, LOWEST_KEY
from device.synth_settings import PARAMETERS, RANGES, Synth

PITCH_BYTES = GRID * GRID * 2 * 68_000  # of a layer: int16, and its levels
MOST_STEP = 6  # semitones between two decoded pitches
WAKE_S = 0.1  # knobs that come to rest are something to decode
MEMORY_FILE = Path("/proc/meminfo")
MOVES_BLEND = ("lfo_blend_x", "lfo_blend_y", "keep_blend")

log = logging.getLogger("tetrad.instrument")


def free_memory_bytes() -> int:
    """What programs may still take."""
    for line in MEMORY_FILE.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 256 << 20


def pitches_for(layers: int, memory_bytes: int, step: int = 0) -> list[int]:
    """The pitches that are decoded of a preset: of a piano's keys every `step`th, or (0) as many as memory holds."""
    if step == 0:
        keys = HIGHEST_KEY - LOWEST_KEY + 1
        step = min(max(-(-keys * layers * PITCH_BYTES // max(memory_bytes, 1)), 1), MOST_STEP)
    return [pitch for pitch in range(LOWEST_KEY, HIGHEST_KEY + 1) if (pitch - 60) % step == 0]


@dataclass(frozen=True)
class Memory:
    """bytes: for a preset's sounds; 0: half of what is free. pitch_step: as in pitches_for."""

    bytes: int = 0
    pitch_step: int = 0


class Instrument:
    """It belongs to the event loop's thread. wake: is called when there may be something to decode.

    What the disk keeps is asked for by `fetch`, a task.
    """

    def __init__(self, engine: Engine, cache: BankCache, memory: Memory, wake: Callable[[], None]) -> None:
        self._engine, self._cache, self._memory, self._wake = engine, cache, memory, wake
        self.preset: Preset | None = None  # that was chosen; it sounds from its first sound on
        self.name = ""
        self.settings: dict[str, float] = {}  # all of them, as they are now
        self.point = (0.5, 0.5)
        self.decoder = ""  # id of what decodes; empty: not known yet
        self._held: list[int] = []
        self._recent: list[int] = []
        self._pad: Pad | None = None  # that the engine has
        self._coming: Pad | None = None  # that it will have
        self._now_s = self._woken_s = 0.0
        self._news = asyncio.Event()  # for fetch
        self._whole: asyncio.Queue[tuple[Pad, int]] = asyncio.Queue()
        self._playing = asyncio.Event()

    # --- What is chosen, turned and played.

    def load(self, name: str, preset: Preset, changes: dict[str, float]) -> None:
        """Chooses a preset, with changes of its settings. What sounded before goes on until it has a sound."""
        self.name, self.preset = name, preset
        budget = self._memory.bytes or free_memory_bytes() // 2
        pad = Pad(preset, pitches_for(preset.layers, budget, self._memory.pitch_step))
        pad.move(*self.point, self._now_s)
        self._coming = pad
        self.settings = {setting: RANGES[setting][0] for setting in PARAMETERS} | dict(preset.synth) | changes
        if self._pad is None:
            self._send_settings()
        self._news.set()
        self._wake()

    def set(self, name: str, value: float) -> None:
        """Sets one of the sound's settings."""
        self.settings[name] = value
        self._engine.send(0, _engine.PARAMETER, key=PARAMETERS[name], a=value)
        self._count_knobs()

    def note(self, name: str, value: float) -> None:
        """The engine has a setting by other ways."""
        self.settings[name] = value
        self._count_knobs()

    def move(self, x: float, y: float, sent: bool = False) -> None:
        """Where the knobs are. sent: the engine has it already."""
        self.point = x, y
        if not sent:
            self._engine.send(0, _engine.BLEND, a=x, b=y)
        for pad in self._pads():
            pad.move(x, y, self._now_s)

    def panic(self) -> None:
        """Silence, at once."""
        for channel in range(16):
            self._engine.send(0, _engine.ALL_SOUND_OFF, channel)

    def tick(self, held: Iterable[int], recent: Iterable[int], now_s: float) -> None:
        """To be called often, with the keys that are held and those that were played, the latest first."""
        keys = list(held), list(recent)
        if keys != (self._held, self._recent) or now_s - self._woken_s >= WAKE_S:
            self._woken_s = now_s
            self._wake()
        self._now_s, (self._held, self._recent) = now_s, keys
        if self._coming and self._coming.can_sound:
            self._pad, self._coming = self._coming, None
            self._send_settings()
            self._playing.set()
            log.info("%s plays", self.name)
        if self._pad:
            self._pad.show(self._engine)
        self._engine.collect()

    async def plays(self) -> None:
        """Waits until a note could be played."""
        await self._playing.wait()

    # --- What is decoded.

    def next_job(self) -> tuple[Pad, Job] | None:
        """For Decoding."""
        pad = self._newest()
        job = pad.next_job(self._held, self._recent, self._now_s) if pad else None
        return (pad, job) if pad and job else None

    def take(self, pad: Pad, job: Job, sounds: Sounds) -> None:
        """For Decoding: what it has decoded, perhaps of a preset that plays no more."""
        pad.take(job, sounds)
        if job.point is None and pad in self._pads() and pad.is_whole(job.pitch):
            self._whole.put_nowait((pad, job.pitch))

    def progress(self) -> tuple[int, int]:
        """Sounds that are decoded, and all of the preset."""
        pad = self._newest()
        return pad.progress() if pad else (0, 0)

    @property
    def pad(self) -> Pad | None:
        """What the engine has."""
        return self._pad

    async def fetch(self) -> None:
        """Brings what the disk has of the preset that was chosen, and keeps there what was decoded; until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._keep())

    async def _read(self) -> None:
        while True:
            self._news.clear()
            if (pad := self._newest()) and self.decoder:
                try:
                    await self._read_pad(pad)
                except TetradError as error:
                    log.warning("%s", error)
                    pad.elsewhere.clear()
                self._wake()
            await self._news.wait()

    async def _read_pad(self, pad: Pad) -> None:
        """Pitch by pitch, what is needed first, until another preset is chosen."""
        bank = await asyncio.to_thread(self._cache.open, pad.preset, self.decoder, pad.grid)
        pad.elsewhere = {pitch for pitch in bank.pitches if bank.is_whole(pitch)}.intersection(pad.pitches)
        while pad.elsewhere and pad is self._newest():
            order = pad.pitches_of(self._held) + pad.order(self._recent)
            pitch = next(pitch for pitch in order if pitch in pad.elsewhere)
            try:
                found = await asyncio.to_thread(self._cache.read, bank, pitch)
            except TetradError as error:
                log.warning("%s; it is decoded again", error)
                pad.elsewhere.discard(pitch)
            else:
                pad.take_whole(pitch, *found)

    async def _keep(self) -> None:
        """Pitches that were decoded, to the disk; what fails is decoded again another time."""
        told = ""
        while True:
            pad, pitch = await self._whole.get()
            if pad not in self._pads():
                continue

            def store(pad: Pad = pad, pitch: int = pitch) -> None:
                self._cache.store(pad.preset, self.decoder, pitch, pad.whole(pitch))

            try:
                await asyncio.to_thread(store)
                told = ""
            except TetradError as error:
                if str(error) != told:
                    log.warning("what is decoded is not kept: %s", error)
                told = str(error)

    def use_decoder(self, id: str) -> None:
        """What decodes is known: what it has decoded before may be on the disk."""
        if id != self.decoder:
            self.decoder = id
            self._news.set()

    def _pads(self) -> list[Pad]:
        return [pad for pad in (self._pad, self._coming) if pad]

    def _newest(self) -> Pad | None:
        return self._coming or self._pad

    def _send_settings(self) -> None:
        Synth(**self.settings).send(self._engine)
        self._engine.send(0, _engine.BLEND, a=self.point[0], b=self.point[1])
        self._count_knobs()

    def _count_knobs(self) -> None:
        for pad in self._pads():
            pad.count_knobs(not any(self.settings[name] for name in MOVES_BLEND))
