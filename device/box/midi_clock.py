"""The tempo of MIDI's clock: 24 ticks a quarter note, some milliseconds late or early, now and then lost or doubled."""

from collections import deque

import numpy as np

TICKS_A_BEAT = 24
LEAST_BPM, MOST_BPM = 20.0, 300.0  # as the engine's tempo_bpm
STEP_BPM = 0.2  # a smaller change is not worth another delay time
SILENCE_S = 1.0  # without a tick: 8 of the slowest tempo
TWIN_S = 0.002  # two ticks nearer than that are one: at 300 bpm they are 8.3 ms apart, and 2.3 ms where both jitter
LONG_TICKS = 8 * TICKS_A_BEAT  # what a steady tempo is measured over: 3 ms of jitter leave 0.1 bpm at 300
FIT_EVERY = 6  # ticks; so a tempo is known a beat after it began
CERTAIN = 4.0  # standard errors
JITTER_S = 0.0017  # standard deviation of 3 ms to either side
ODD = 8.0  # a tick that is lost or doubled is as unlikely as one that is off by the root of 8 deviations
CHANGED = 16.0  # of a tempo, as two such ticks

START, CONTINUE, STOP, TICK = 0xFA, 0xFB, 0xFC, 0xF8


class Clock:
    """Real-time messages in, a tempo out. One clock at a time: two at once are no tempo."""

    def __init__(self) -> None:
        self.bpm: float | None = None
        self.playing = False  # between start or continue, and stop
        self._ticks: deque[float] = deque(maxlen=LONG_TICKS)  # arrivals in s, ascending
        self._heard_s = 0.0  # when the last tick came, or a start
        self._until_fit = TICKS_A_BEAT
        self._period_s = 0.0  # of the tempo; 0 where there is none
        self._doubts = 0  # fits, one after the other, in which the last beat had another tempo

    def take(self, arrival_ns: int, status: int) -> bool:
        """A message of one byte; True where `bpm` has changed."""
        if status in (START, CONTINUE):
            self.playing = True
            self._begin_again(arrival_ns / 1e9)  # its ticks need not go on where the last ones stopped
        elif status == STOP:
            self.playing = False
        elif status == TICK:
            return self._tick(arrival_ns / 1e9)
        return False

    def check(self, now_ns: int) -> bool:
        """True where the clock has fallen silent, and there is no tempo any more."""
        return now_ns / 1e9 - self._heard_s >= SILENCE_S and self._set(None)

    def _begin_again(self, time_s: float) -> None:
        self._ticks.clear()
        self._heard_s = time_s
        self._until_fit = TICKS_A_BEAT
        self._period_s = 0.0
        self._doubts = 0

    def _set(self, bpm: float | None) -> bool:
        same = self.bpm == bpm or (self.bpm is not None and bpm is not None and abs(bpm - self.bpm) <= STEP_BPM)
        if not same:
            self.bpm = bpm
        return not same

    def _tick(self, time_s: float) -> bool:
        gap_s = time_s - self._heard_s
        if gap_s < TWIN_S and self._ticks:
            return False
        dropped = gap_s >= SILENCE_S and self._set(None)
        if gap_s >= SILENCE_S:
            self._begin_again(time_s)
        self._heard_s = time_s
        self._ticks.append(time_s)
        self._until_fit -= 1
        if self._until_fit > 0:
            return dropped  # and where it has, there is a beat to go
        self._until_fit = FIT_EVERY
        self._period_s = self._measure_s()
        bpm = 60 / (TICKS_A_BEAT * self._period_s)
        return self._set(min(max(bpm, LEAST_BPM), MOST_BPM))

    def _measure_s(self) -> float:
        """Over all ticks while they agree with those of the last beat; else over these, and the rest is forgotten."""
        times = np.array(self._ticks)
        latest = times[-TICKS_A_BEAT:]
        short_s, error_s = fit(latest, float(np.median(np.diff(latest))), 0.2, self._period_s)
        long_s, _ = fit(times, self._period_s or short_s, 0.01, self._period_s)
        self._doubts = self._doubts + 1 if abs(long_s - short_s) > CERTAIN * error_s else 0
        if self._doubts < 3:
            return long_s
        self._ticks = deque(latest.tolist(), maxlen=LONG_TICKS)
        return short_s


def fit(times: np.ndarray, about_s: float, within: float, known_s: float) -> tuple[float, float]:
    """The period of ticks at `times` in s, float64 [ticks], and its standard error, both in s.

    Of the periods that are `about_s`, give or take the share `within`, the likeliest: each tick has a place on the line
    of a period, and that line is best to which the ticks are near, while few places are empty or taken twice.
    Another tempo than the one of `known_s` (0: none) has to be that much likelier, too.
    """
    count = round(within * len(times) / 0.1)  # two neighbours differ by 5 % of a period at the ends
    periods_s = about_s * np.linspace(1 - within, 1 + within, 2 * count + 1)[:, None]  # (periods, 1)
    turns = (times - times[0]) / periods_s  # (periods, ticks)
    phase = np.angle(np.exp(2j * np.pi * turns).mean(axis=1, keepdims=True)) / (2 * np.pi)
    places = np.rint(turns - phase)
    off_s = (turns - phase - places) * periods_s
    odd = np.abs(np.diff(places, axis=1) - 1).sum(axis=1)
    other = np.abs(periods_s[:, 0] - known_s) > 0.005 * known_s
    best = int(np.argmin((off_s**2).sum(axis=1) / JITTER_S**2 + ODD * odd + CHANGED * other))
    place, first = np.unique(places[best], return_index=True)
    if len(place) < 2:  # all within half a period: the guess is far off, and nothing speaks for it
        return about_s, 0.0
    return line(place, times[first])


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Least squares through points [n], at least two x apart: the slope and its standard error."""
    x, y = x - x.mean(), y - y.mean()
    spread = float(x @ x)
    slope = float(x @ y) / spread
    return slope, float(np.sqrt(np.mean((y - slope * x) ** 2) / spread))
