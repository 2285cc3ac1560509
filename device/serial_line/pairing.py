"""The key of a box: whoever comes by the serial line gives it before anything is written."""

import hmac
import time
from collections.abc import Callable

from smp.error import MGMT_ERR

from device.serial_line.commands import TETRAD, TetradCode
from device.serial_line.messages import SmpError

FREE_TRIES = 3
FIRST_WAIT_S = 1.0  # doubles with each further wrong try
LONGEST_WAIT_S = 300.0


class Pairing:
    """One port's: the tries are counted over all its sessions, so that a new one buys no new tries."""

    def __init__(self, key: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._key, self._clock_s = key.encode(), clock_s
        self._wrong, self._next_s = 0, 0.0

    @property
    def needed(self) -> bool:
        return bool(self._key)

    def check(self, key: str) -> None:
        """Raises SmpError where it is not the box's key, or where one has to wait."""
        if not self.needed:
            return
        left_s = self._next_s - self._clock_s()
        if left_s > 0:
            raise SmpError(TetradCode.WAIT, f"too many wrong keys: wait {left_s:.0f} s", TETRAD, MGMT_ERR.EBUSY)
        if hmac.compare_digest(key.encode(), self._key):
            self._wrong = 0
            return
        self._wrong += 1
        if self._wrong >= FREE_TRIES:
            wait_s = min(FIRST_WAIT_S * 2.0 ** min(self._wrong - FREE_TRIES, 32), LONGEST_WAIT_S)
            self._next_s = self._clock_s() + wait_s
        raise SmpError(TetradCode.WRONG_KEY, "the key is wrong", TETRAD, MGMT_ERR.EACCESSDENIED)
