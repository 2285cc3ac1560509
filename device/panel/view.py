"""What the display is to show."""

from dataclasses import dataclass

import numpy as np

SIZE = (128, 64)  # pixels


@dataclass(frozen=True, eq=False)
class View:
    """Everything that stands on the display. Corners as a preset's: top left, top right, bottom left, bottom right.

    `timbre` float32 [bands, columns], 0..1, the lowest band first. `decoded` 0..1. `message` overlays the rest; who
    sets it takes it back. A `menu` takes the place of pad and timbre, with the entry `selected` marked.
    """

    preset: str = ""
    corners: tuple[str, str, str, str] = ("", "", "", "")
    x: float = 0.5
    y: float = 0.5
    timbre: np.ndarray | None = None
    decoded: float = 1.0
    voices: int = 0
    fault: str = ""
    message: str = ""
    menu: tuple[str, ...] = ()
    selected: int | None = None
