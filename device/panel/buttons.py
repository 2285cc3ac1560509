"""Push buttons: bounce, short presses, long ones."""

BOUNCE_S = 0.020  # a contact is believed when it has been the same for so long
LONG_S = {"shutdown": 2.0}  # nobody switches the box off by brushing against it
OTHERS_LONG_S = 0.8


class Button:
    """One contact. A button that is closed when first seen says nothing until it has been open: it may be stuck."""

    def __init__(self, name: str) -> None:
        self._long_s = LONG_S.get(name, OTHERS_LONG_S)
        self._closed = self._believed = True
        self._since_s = float("-inf")
        self._pressed_s: float | None = None  # None: not pressed, or its press is told

    def feed(self, closed: bool, now_s: float) -> bool | None:
        """Takes what the contact is at a time: at each change, and often between.

        True: it is a long press now; False: a short one is over; None: nothing to tell.
        """
        told = None
        if self._closed != self._believed and now_s - self._since_s >= BOUNCE_S:
            self._believed = self._closed
            if self._believed:
                self._pressed_s = self._since_s
            elif self._pressed_s is not None:
                self._pressed_s, told = None, False
        if self._closed and self._pressed_s is not None and now_s - self._pressed_s >= self._long_s:
            self._pressed_s, told = None, True
        if closed != self._closed:
            self._closed, self._since_s = closed, now_s
        return told
