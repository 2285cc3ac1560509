import keras
import numpy as np

from tests.train import tiny
from train import sampler
from train.wavenet import WaveNetAutoencoder


def test_each_step_agrees_with_the_full_network() -> None:
    keras.utils.set_random_seed(1)
    autoencoder, random = WaveNetAutoencoder(tiny.CONFIG), np.random.default_rng(1)
    for layer in autoencoder.decoder.layers:  # biases start at zero, where a forgotten one would not be seen
        layer.set_weights([w + 0.1 * random.standard_normal(w.shape) for w in layer.get_weights()])
    codes = random.integers(-128, 128, (3, 1024))
    embeddings, pitches = random.normal(size=(3, 2, 16)).astype("f"), np.array([40, 60, 80])
    samples = (codes / 128).astype("f")[..., None]
    whole = keras.ops.convert_to_numpy(autoencoder.logits(samples, embeddings, pitches))
    stepper = sampler.Sampler(autoencoder, embeddings, pitches)
    for t in range(1024):
        np.testing.assert_allclose(stepper.logits(), whole[:, t], atol=1e-4)
        stepper.feed(codes[:, t])


def test_draws_follow_the_predicted_distribution() -> None:
    random = np.random.default_rng(2)
    logits = np.full((20_000, 256), -30.0)
    logits[:, 10], logits[:, 200] = np.log(0.25), np.log(0.75)
    codes = sampler.draw(logits, random, temperature=1.0)
    assert set(codes) == {10 - 128, 200 - 128}
    assert abs(np.mean(codes == 72) - 0.75) < 0.02


def test_generation_is_repeatable() -> None:
    keras.utils.set_random_seed(3)
    autoencoder = WaveNetAutoencoder(tiny.CONFIG)
    arguments = autoencoder, np.zeros((2, 1, 16), "f"), np.array([60, 60]), 64
    first = sampler.generate(*arguments, seed=5)
    assert first.shape == (2, 64)
    assert np.array_equal(first, sampler.generate(*arguments, seed=5))
    assert not np.array_equal(first, sampler.generate(*arguments, seed=6))
