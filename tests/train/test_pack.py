from pathlib import Path

import keras
import numpy as np
import pytest

from device.errors import TetradError
from train.pack import pack, rounded


def some_model() -> keras.Model:
    inputs = keras.Input((8, 4))
    return keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Conv1D(128, 3)(inputs)))


def test_packed_weights_are_read_as_they_were(tmp_path: Path) -> None:
    model, again = some_model(), some_model()
    model.save_weights(tmp_path / "a.weights.h5")
    pack(tmp_path / "a.weights.h5", tmp_path / "b.weights.h5")
    again.load_weights(tmp_path / "b.weights.h5")
    for weights, read in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(read, weights, rtol=2**-8)
    kernel = next(weights for weights in again.get_weights() if weights.ndim == 3)
    np.testing.assert_array_equal(kernel, rounded(kernel))
    pack(tmp_path / "b.weights.h5", tmp_path / "c.weights.h5")
    twice = some_model()
    twice.load_weights(tmp_path / "c.weights.h5")
    for weights, read in zip(again.get_weights(), twice.get_weights(), strict=True):
        np.testing.assert_array_equal(read, weights)
    sizes = {(tmp_path / f"{name}.weights.h5").stat().st_size for name in "bc"}
    assert len(sizes) == 1  # not byte by byte: HDF5 notes the second in which a file was made


def test_weights_are_rounded_to_the_nearest() -> None:
    of = (np.random.default_rng(0).normal(size=(40, 250)) * 2.0 ** np.arange(-20, 20)[:, None]).astype(np.float32)
    got = rounded(of)
    assert got.dtype == np.float32
    assert np.abs(got / of - 1).max() <= 2**-8
    assert not (got.view(np.uint32) & 0xFFFF).any()
    np.testing.assert_array_equal(rounded(np.array([0, 1, -1.5, 1 + 2**-8, 1 + 3 * 2**-8], np.float32)),
                                  np.array([0, 1, -1.5, 1, 1 + 2**-6], np.float32))


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.weights.h5").write_bytes(b"no weights")
    with pytest.raises(TetradError, match=r"a\.weights\.h5: no weights"):
        pack(tmp_path / "a.weights.h5", tmp_path / "b.weights.h5")
    assert not (tmp_path / "b.weights.h5").exists()
