"""8-bit mu-law companding (ITU-T G.711's curve) as NSynth uses it: mu = 255, integers from -128 to 127."""

import numpy as np
import numpy.typing as npt

MU = 255
LEVELS = MU + 1


def encode(audio: npt.ArrayLike) -> np.ndarray:
    """Audio in [-1, 1], any shape -> int16 codes in [-128, 127], the same shape; beyond full scale is clipped."""
    x = np.clip(np.asarray(audio, np.float32), -1, 1)
    compressed = np.sign(x) * np.log1p(MU * np.abs(x)) / np.log1p(MU)
    return np.clip(np.floor(compressed * 128), -128, 127).astype(np.int16)


def decode(codes: npt.ArrayLike) -> np.ndarray:
    """Codes in [-128, 127], any shape -> float32 audio in [-1, 1], at the middle of each step; 0 is silence."""
    codes = np.asarray(codes)
    y = (codes.astype(np.float32) + 0.5) / 128
    audio = np.sign(y) * np.expm1(np.abs(y) * np.log1p(MU)) / MU
    return np.where(codes == 0, 0, audio).astype(np.float32)
