"""Several devices for one training, each with a share of every batch, by what Keras has for it on its backends."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from device.errors import TetradError


@contextmanager
def shared_by(count: int | None, batch: int) -> Iterator[None]:
    """Models made and trained inside are so on `count` devices, on all there are where that is None.

    JAX: `keras.distribution.DataParallel`. TensorFlow: `tf.distribute.MirroredStrategy`, which is Keras' way there
    (https://keras.io/guides/distributed_training_with_tensorflow/); there, gradients are clipped on each device by
    itself, so that a run with a `gradient_norm` is not quite the same on several. Raises TetradError where there are
    fewer devices, or where the batch cannot be shared evenly.
    """
    devices = keras.distribution.list_devices()
    count = len(devices) if count is None else count
    if count > len(devices):
        raise TetradError(f"--devices {count}: there are {len(devices)} ({', '.join(devices)})")
    if batch % count:
        raise TetradError(f"a batch of {batch} cannot be shared evenly by {count} devices: give --devices "
                          f"{max(n for n in range(1, count) if batch % n == 0)}, or another batch")
    if count == 1:
        yield
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy([f"/{device}" for device in devices[:count]]).scope():
            yield
    else:
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices[:count]))
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Models made inside compute by Keras' dtype policy, such as `mixed_bfloat16`; their weights are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
