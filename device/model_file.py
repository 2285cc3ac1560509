"""LiteRT files by themselves: where the shipped decoder lies, and how files are told apart, without the runtime."""

import hashlib
from pathlib import Path

FACTORY_DECODER = Path(__file__).parent / "factory" / "decoder.tflite"
MAX_MODEL_BYTES = 64 << 20  # eight times what an Edge TPU holds
ID_DIGITS = 16  # of the SHA-256: enough to tell decoders apart, short enough to read out


def model_id(data: bytes) -> str:
    """By a file's content."""
    return hashlib.sha256(data).hexdigest()[:ID_DIGITS]


def compiled_beside(path: Path) -> Path:
    """Where edgetpu_compiler puts what it makes of a model."""
    return path.with_name(f"{path.stem}_edgetpu.tflite")
