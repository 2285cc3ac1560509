import keras
import numpy as np
import pytest

from device.spectrum import BINS
from tests.train import tiny
from train.wavenet import CONFIGS, Config, Conv1D, WaveNetAutoencoder, build_decoder, build_encoder


@pytest.fixture(scope="module")
def autoencoder() -> WaveNetAutoencoder:
    keras.utils.set_random_seed(0)
    return WaveNetAutoencoder(tiny.CONFIG)


def logits(autoencoder: WaveNetAutoencoder, samples: np.ndarray, embedding: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(autoencoder.logits(samples, embedding, np.array([60])))


def test_the_published_decoder_has_the_published_number_of_parameters() -> None:
    unused = 512 * 512 + 512  # the reference also holds a residual layer after the last gate, which reaches no output
    assert build_decoder(CONFIGS["nsynth"]).count_params() + unused == 59_827_712


def test_the_published_encoder_gives_16_numbers_each_512_samples() -> None:
    encoder = build_encoder(CONFIGS["nsynth"])
    # Start, 30 layers of a dilated and a pointwise convolution, bottleneck: about 2.0 M in the paper's model.
    assert encoder.count_params() == (3 * 128 + 128) + 30 * ((3 * 128 + 1) * 128 + 129 * 128) + 129 * 16
    assert encoder(np.zeros((1, 2048, 1), np.float32)).shape == (1, 4, 16)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_each_configuration_has_an_embedding_of_16_numbers_each_512_samples(config: Config) -> None:
    assert (config.dimensions, config.hop_samples) == (16, 512)


def test_an_embedding_in_other_units_gives_the_same_prediction(autoencoder: WaveNetAutoencoder) -> None:
    random = np.random.default_rng(1)
    frames, samples = random.normal(size=(1, 4, BINS)).astype("f"), random.uniform(-1, 1, (1, 1024, 1)).astype("f")
    before = keras.ops.convert_to_numpy(autoencoder.encoder(frames))
    predicted = logits(autoencoder, samples, before)
    divisors = np.arange(2, 18).astype("f")
    autoencoder.rescale_embedding(divisors)
    after = keras.ops.convert_to_numpy(autoencoder.encoder(frames))
    np.testing.assert_allclose(after * divisors, before, atol=1e-5)
    np.testing.assert_allclose(logits(autoencoder, samples, after), predicted, atol=1e-5)


def test_a_sample_is_predicted_from_those_before_it_alone(autoencoder: WaveNetAutoencoder) -> None:
    random = np.random.default_rng(0)
    samples, embedding = random.uniform(-1, 1, (1, 1024, 1)).astype("f"), random.normal(size=(1, 2, 16)).astype("f")
    before = logits(autoencoder, samples, embedding)
    samples[0, 700] += 0.5
    after = logits(autoencoder, samples, embedding)
    assert np.array_equal(before[0, :701], after[0, :701])
    assert not np.allclose(before[0, 701], after[0, 701])


def test_the_embedding_and_the_pitch_reach_the_prediction(autoencoder: WaveNetAutoencoder) -> None:
    samples, embedding = np.zeros((1, 1024, 1), "f"), np.zeros((1, 2, 16), "f")
    plain = logits(autoencoder, samples, embedding)
    embedding[0, 1] = 1
    biased = logits(autoencoder, samples, embedding)
    assert np.array_equal(plain[0, :512], biased[0, :512])
    assert not np.allclose(plain[0, 512:], biased[0, 512:])
    other = keras.ops.convert_to_numpy(autoencoder.logits(samples, embedding, np.array([61])))
    assert not np.allclose(other, biased)


@pytest.mark.parametrize(("taps", "dilation", "padding"), [(3, 1, "causal"), (3, 8, "causal"), (3, 4, "same"),
                                                           (1, 1, "same")])
def test_trained_as_products_a_convolution_is_the_same(taps, dilation, padding):
    layer = Conv1D(5, taps, padding=padding, dilation_rate=dilation, bias_initializer="normal")
    x = np.random.default_rng(taps).standard_normal((2, 24, 4), np.float32)
    product, convolution = (keras.ops.convert_to_numpy(layer(x, training=training)) for training in (True, False))
    np.testing.assert_allclose(product, convolution, atol=1e-5)
    assert np.abs(convolution).max() > 0.1
