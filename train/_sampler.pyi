"""The sampler's C part (train/sampling/), as Python sees it."""

from typing import Any, Final, final

from numpy.typing import NDArray

MOST_THREADS: Final[int]
INSTRUCTIONS: Final[str]  # the best set that this processor has: "avx512", "avx2" or "plain"

@final
class Wavenet:
    """The decoder of train/wavenet.py for a batch of notes, one sample at a time. May be used by one thread at a time,
    and holds no GIL while it works."""

    def __init__(self, weights: list[NDArray[Any]], conditions: NDArray[Any], batch: int, frames: int, width: int,
                 skip: int, layers: int, cycle: int, condition: int, hop_samples: int, seed: int = 0,
                 temperature: float = 1.0, instructions: str | None = None) -> None:
        """weights: float32, flat, in the order of sampling/wavenet.h. conditions: float32 [batch, frames, condition].
        All is copied. `instructions` names a set of kernels other than the best. Raises ValueError."""

    def generate(self, codes: NDArray[Any], threads: int = 1) -> None:
        """Draws the next samples, mu-law codes, into int16 [batch, samples]. Raises ValueError where that is more than
        is left of the frames, ArithmeticError where a prediction is no number."""

    def predict(self, codes: NDArray[Any], logits: NDArray[Any], threads: int = 1) -> None:
        """Takes the next samples, int16 [batch, samples], as given, and puts into logits, float32 [batch, samples,
        256], what was predicted for each from those before it."""

def gate(x: NDArray[Any], gated: NDArray[Any], instructions: str | None = None, /) -> None:
    """float32 [n, 2, 16] -> [n, 16]: sigmoid of the first 16 times tanh of the last."""

def machine_limits(threads: int, /) -> tuple[float, float]:
    """Bytes a second that `threads` threads read from memory together, and float32 multiply-adds a second, measured:
    takes about a second."""
