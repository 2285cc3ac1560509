"""What the serial line wants of the box that it leads to."""

from typing import Protocol


class Box(Protocol):
    async def select(self, name: str) -> None:
        """Loads the preset of this name. Raises TetradError."""
        ...

    async def changed(self, name: str, removed: bool) -> None:
        """A preset is there, new or in another's place, or is gone."""
        ...

    async def renamed(self, old: str, new: str) -> None:
        """A preset has another name."""
        ...

    def selected(self) -> str:
        """The name of the preset that plays."""
        ...

    def status(self) -> dict[str, object]:
        """What a player or a maker wants to know: voices, limit, xruns, cpu_percent, temperature_c, version ..."""
        ...

    def progress(self) -> dict[str, object]:
        """How far the preset that plays is decoded: preset, decoded, cells."""
        ...
