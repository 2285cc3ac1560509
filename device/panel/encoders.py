"""Rotary encoders: two contacts that open and close in turn, four changes a detent."""

from collections import deque

# (A, B) as one number, 1 where a contact is open. At a detent both are open; clockwise A closes first.
CLOCKWISE = (0b11, 0b01, 0b00, 0b10)
PLACE = {levels: place for place, levels in enumerate(CLOCKWISE)}
DETENT = 0b11
HALF_WAY = 2  # changes in one direction that make a detent, when it is reached: one more than bounce can feign

DETENTS = 4  # over as many the speed is taken, so that two which arrive late together are not taken for a fast turn
SLOW_S = 0.06  # a detent: one step. Twice as quick counts twice, up to
MOST_STEPS = 8
SAME_TURN_S = 0.1  # two changes at once within this time of another go on in its direction


class Encoder:
    """Counts detents. Bounce goes forth and back and cancels; a change that was missed is made up for."""

    def __init__(self) -> None:
        self._levels: int | None = None
        self._changes = 0  # since the last detent, clockwise positive
        self._direction, self._changed_s = 0, 0.0
        self._times_s: deque[float] = deque(maxlen=DETENTS)
        self._last = 0

    def feed(self, levels: int, now_s: float, edge: int | None = None) -> int:
        """Takes what A (2) and B (1) are at a time; gives the steps that this makes, accelerated, mostly 0.

        `edge` says whose change was the first since the last call: 0b10 A's, 0b01 B's. It tells the direction where
        both have changed and the encoder stood.
        """
        if self._levels is None or levels == self._levels:
            self._levels = levels
            return 0
        place = PLACE[self._levels]
        way = (PLACE[levels] - place) % 4
        if way == 2:  # both: the one between was missed
            if now_s - self._changed_s > SAME_TURN_S or not self._direction:
                if edge is None:  # nobody knows
                    self._levels, self._changes = levels, 0
                    return 0
                self._direction = 1 if CLOCKWISE[(place + 1) % 4] == self._levels ^ edge else -1
            changes, direction = 2, self._direction
        else:
            changes, direction = 1, 1 if way == 1 else -1
        steps = 0
        for n in range(1, changes + 1):
            self._changes += direction
            if CLOCKWISE[(place + n * direction) % 4] == DETENT:
                if abs(self._changes) >= HALF_WAY:
                    steps += self._detent(1 if self._changes > 0 else -1, now_s)
                self._changes = 0
        self._levels, self._direction, self._changed_s = levels, direction, now_s
        return steps

    def _detent(self, direction: int, now_s: float) -> int:
        if direction != self._last:
            self._times_s.clear()
        self._last = direction
        self._times_s.append(now_s)
        if len(self._times_s) < DETENTS:
            return direction
        each_s = (now_s - self._times_s[0]) / (DETENTS - 1)
        return direction * min(max(round(SLOW_S / max(each_s, 1e-3)), 1), MOST_STEPS)
