"""Weights as they are shipped, `python -m train.pack FROM TO`: rounded to half precision, a third as long.

Half precision is bfloat16: a student's rounding is 55 dB under its weights, where that to int8 is 43. They stay float32
to whom reads them.
"""

import io
import sys
from pathlib import Path

import h5py
import numpy as np

from device import files
from device.errors import TetradError

DROPPED_BITS = np.uint32(16)  # of float32's 24 significant ones: bfloat16 has 8
WORTH_PACKING = 1024  # weights: what HDF5 writes around a smaller packed array is as long as what that saves


def pack(source: Path, target: Path) -> None:
    """Writes a Keras file of weights again, whole or not at all. Raises TetradError where it cannot be read."""
    content = io.BytesIO()
    try:
        with h5py.File(source) as held, h5py.File(content, "w", libver="latest") as packed:
            held.visititems(lambda name, of: _copy(name, of, packed))
            packed.attrs.update(held.attrs)
    except OSError as error:
        raise TetradError(f"{source}: no weights can be read ({error}); give a run's *.weights.h5") from error
    with files.atomic(target) as file:
        file.write(content.getvalue())


def rounded(weights: np.ndarray) -> np.ndarray:
    """float32 [...] to the nearest bfloat16, the even one of two, as float32."""
    bits = np.ascontiguousarray(weights, np.float32).view(np.uint32)
    half = np.uint32((1 << int(DROPPED_BITS) - 1) - 1) + (bits >> DROPPED_BITS & np.uint32(1))
    return np.asarray((bits + half >> DROPPED_BITS << DROPPED_BITS).view(np.float32))


def _copy(name: str, of: h5py.Group | h5py.Dataset, packed: h5py.File) -> None:
    if isinstance(of, h5py.Group):
        made = packed.require_group(name)
    elif of.dtype == np.float32 and of.size >= WORTH_PACKING:
        made = packed.create_dataset(name, data=rounded(of[()]), chunks=of.shape, compression="gzip",
                                     compression_opts=9, shuffle=True)
    else:
        made = packed.create_dataset(name, data=of[()])
    made.attrs.update(of.attrs)


if __name__ == "__main__":
    pack(*map(Path, sys.argv[1:3]))
