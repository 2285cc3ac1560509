"""The engine on the simulated sound card, played by the keyboard: without a daemon, decoder or preset.

Its sound is a sine, so that a recording tells the pitch to a cent.
"""

import time
from typing import Any

import devices
import keys
import numpy as np
import sound

from device import _alsa, _engine

PERIOD_FRAMES, PERIODS = 2048, 4
BASE_KEY, CYCLES, SAMPLES = 60, 180, 43 * _engine.COLUMN_SAMPLES  # 261.63 Hz of a bank at 16 kHz: middle C
KINDS = {_alsa.MESSAGE: "message", _alsa.HOST: "host", _alsa.PLUGGED: "plugged", _alsa.UNPLUGGED: "unplugged"}


def sine_bank(engine: _engine.Engine) -> None:
    """A sine, of whole cycles, that goes round."""
    wave = np.rint(0.9 * 32_767 * np.sin(2 * np.pi * CYCLES * np.arange(SAMPLES) / SAMPLES)).astype(np.int16)
    cells = np.ascontiguousarray(np.broadcast_to(wave, (1, 2, 2, SAMPLES)))
    levels = np.full((1, 2, 2, SAMPLES // _engine.COLUMN_SAMPLES), 0.9 / 2**0.5, np.float32)
    engine.set_bank([100], [(BASE_KEY, cells, 0, SAMPLES, levels, np.zeros((1, 4, 4), np.float32))])


class Listener:
    """A card and a keyboard that play; what is polled is kept: when (s of time.monotonic), kind, name or hex."""

    def __init__(self) -> None:
        self.engine = _engine.Engine(sound.RATE_HZ, 16)
        sine_bank(self.engine)
        self.card = _alsa.Card(self.engine, sound.RATE_HZ)
        self.keyboard = _alsa.Keyboard(self.card)
        self.told: list[tuple[float, str, str]] = []

    def __enter__(self) -> "Listener":
        self.card.start(sound.PLAYED, period_frames=PERIOD_FRAMES, periods=PERIODS)
        self.keyboard.start()
        devices.wait_for(lambda: self.card.meters()["state"] == "running", "the card")
        self.wait_for("plugged")
        return self

    def __exit__(self, *_: object) -> None:
        self.keyboard.stop()
        self.card.stop()

    def poll(self) -> list[tuple[float, str, str]]:
        for ns, kind, data in self.keyboard.poll():
            is_name = kind in (_alsa.PLUGGED, _alsa.UNPLUGGED)
            self.told.append((ns / 1e9, KINDS[kind], data.decode() if is_name else data.hex()))
        return self.told

    def wait_for(self, kind: str, times: int = 1) -> None:
        """Until the keyboard has been (un)plugged so often. Its own side of the cable is a port here, too."""
        devices.wait_for(lambda: sum(told[1] == kind and keys.NAME in told[2] for told in self.poll()) == times,
                         f"the keyboard to be {kind}")


def scale(played: list[int], held_s: float, gap_s: float) -> dict[str, Any]:
    with Listener() as box, sound.Recording("scale.wav"):
        keys.play(played, held_s, gap_s)
        time.sleep(1)
        return {"told": box.poll(), "card": box.card.meters(), "keyboard": box.keyboard.meters(),
                "problem": box.card.problem()}


def pulled(held: list[int], held_s: float) -> dict[str, Any]:
    """Keys are held, and the keyboard is pulled out; then it is plugged in again, and played."""
    with Listener() as box:
        with sound.Recording("pulled.wav") as recording:
            keys.hold(held)
            time.sleep(held_s)
            sounding_s = recording.heard_s()
            pulled_s = keys.pull()
            box.wait_for("unplugged")
            time.sleep(sound.LISTEN_S)
        voices = box.engine.meters()["voices"]
        keys.plug()
        box.wait_for("plugged", 2)
        with sound.Recording("again.wav"):
            keys.play(held[:1], 0.5, 0.5)
        return {"told": box.poll(), "sounding_s": sounding_s, "pulled_s": pulled_s, "heard_s": recording.heard_s(),
                "voices": voices, "keyboard": box.keyboard.meters()}
