"""The engine with its sound card and its keyboards: all that sounds when nothing else does."""

import logging
from typing import TYPE_CHECKING

from device import _engine
from device.box.settings import Settings
from device.errors import TetradError

try:
    from device._alsa import LOWER, Card, Keyboard, cards
except ImportError as error:
    raise TetradError("tetrad was built without ALSA: sudo apt-get install libasound2-dev, and install it again"
                      ) from error

if TYPE_CHECKING:
    from device._alsa import CardMeters, Description

LOOK_S = 3.0  # between two looks for a card where none was there
LAST_RESORT = ("hdmi", "vc4", "bcm2835")  # of cards' names: a screen's loudspeaker, and the Pi's headphone jack

log = logging.getLogger("tetrad.sound")


class Sound:
    """device: as settings have it, [audio] device. din: of a UART, open; None: there is none."""

    def __init__(self, settings: Settings, din: int | None = None) -> None:
        audio = settings.audio
        self.engine = _engine.Engine(audio.rate_hz, audio.polyphony)
        self.card = Card(self.engine, audio.rate_hz)
        self.keyboard = Keyboard(self.card)
        self._settings, self._din = settings, din
        self._device: str | None = None
        self._look_s = 0.0
        self._unchecked = False  # whether it got its priority
        self._problem = ""

    def start(self) -> None:
        """Plays, or goes on by the clock where there is no card yet."""
        self._device = self._chosen()
        self._start_card()
        self.keyboard.start(din_fd=-1 if self._din is None else self._din)
        if members := self._settings.midi.mpe_members:
            self.keyboard.set_zone(LOWER, members)

    def stop(self) -> None:
        self.keyboard.stop()
        self.card.stop()

    def tick(self, now_s: float) -> None:
        """To be called now and then: takes a card that was plugged in where none was, and tells what has changed."""
        if self._settings.audio.device == "auto" and self._device is None and now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._device = self._chosen()
            if self._device:
                self.card.stop()
                self._start_card()
        if self._unchecked and self.meters()["blocks"]:
            self._unchecked = False
            if not self.meters()["real_time"]:
                log.warning("no real-time priority is allowed: sound may break off; see docs/service.md")
        if (problem := self.problem()) != self._problem:
            self._problem = problem
            if not problem:  # the box tells problems
                log.info("plays on %s", self._device)

    def problem(self) -> str:
        """Why nothing is to be heard, in a line; empty where it is."""
        if self._device is None and self._settings.audio.device == "auto":
            return "there is no sound card: plug one in, or name one in [audio] device"
        return self.card.problem()

    def meters(self) -> "CardMeters":
        return self.card.meters()

    def _start_card(self) -> None:
        audio = self._settings.audio
        self.card.start(self._device, period_frames=audio.period_frames, periods=audio.periods,
                        priority=audio.priority)
        self._unchecked = audio.priority > 0

    def _chosen(self) -> str | None:
        asked = self._settings.audio.device
        if asked != "auto":
            return None if asked == "null" else asked
        return best_card(cards(), self._settings.audio.rate_hz)


def best_card(found: "list[Description]", rate_hz: int) -> str | None:
    """The first that plays at the rate, or may; a DAC or a USB card before what a Raspberry Pi has by itself."""
    playing = [card for card in found if card["error"] or rate_hz in card["rates_hz"]]
    playing.sort(key=lambda card: any(word in f"{card['device']} {card['name']}".lower() for word in LAST_RESORT))
    return playing[0]["device"] if playing else None
