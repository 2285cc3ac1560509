"""A note's life in the engine: its velocity's layers, vibrato, the loop it is held in, its decay and its release.

Tables are sines that are known exactly, so what the engine adds to them is what is left when they are taken away.
"""

import numpy as np
import pytest
from playing import (
    BANK_HZ,
    QUICK,
    RATE_HZ,
    VOICE_GAIN,
    Sent,
    Table,
    above,
    as_table,
    blend,
    constant,
    engine_of,
    level_of,
    off,
    on,
    play,
    random_events,
)
from scipy import signal

from device import _engine

COLUMN = _engine.COLUMN_SAMPLES
LOOP_START, LOOP_SAMPLES, RELEASE_SAMPLES = 20 * COLUMN, 50 * COLUMN, 67 * COLUMN
HOLD_SAMPLES = 4 * COLUMN  # of the release, before it falls
STILL = (0.0, 0.0, 0.0, 0.0)
SUSTAINED = {**QUICK, _engine.RELEASE_MS: 60_000.0}
PEDAL_DOWN, PEDAL_UP = (0, _engine.SUSTAIN, 0, 0, 1.0, 0.0), (0, _engine.SUSTAIN, 0, 0, 0.0, 0.0)


def cycles_a_sample(pitch: int, loop_samples: int = LOOP_SAMPLES) -> float:
    """Of a table's fundamental, whole in its loop, as the decoder makes it."""
    return round(440 * 2 ** ((pitch - 69) / 12) / BANK_HZ * loop_samples) / loop_samples


def tone(pitch: int, samples: int, peak: float) -> np.ndarray:
    return peak * np.sin(2 * np.pi * cycles_a_sample(pitch) * np.arange(samples))


def tone_table(pitch: int = 60, motion: object = STILL, peak: float = 0.8, release_peak: float = 0.8,
               hold_samples: int = RELEASE_SAMPLES, layers: int = 1) -> Table:
    """A sine as body and loop, and as release, which begins at phase 0 again and is silent after `hold_samples`.

    The levels are the sine's own, where those of columns would depend on how many periods fall into each.
    """
    release = tone(pitch, RELEASE_SAMPLES, release_peak)
    release[hold_samples:] = 0
    wave = np.concatenate([tone(pitch, LOOP_START + LOOP_SAMPLES, peak), release])
    cells = np.tile(np.rint(wave * 32_767).astype(np.int16), (layers, 2, 2, 1))
    levels = np.full((layers, 2, 2, len(wave) // COLUMN), peak)
    levels[..., (LOOP_START + LOOP_SAMPLES) // COLUMN:] = release_peak
    return as_table(pitch, cells, LOOP_START, LOOP_SAMPLES, motion, levels)


def left_over(audio: np.ndarray, cycles: np.ndarray) -> np.ndarray:
    """What is left of a tone when a sine of that course, in cycles, is taken away, over the sine's peak."""
    basis = np.stack([np.sin(2 * np.pi * cycles), np.cos(2 * np.pi * cycles)], axis=1)
    found, *_ = np.linalg.lstsq(basis, audio.astype(np.float64), rcond=None)
    return (audio - basis @ found) / np.linalg.norm(found)


def steady_cycles(pitch: int, frames: np.ndarray, key: int | None = None) -> np.ndarray:
    ratio = 2 ** (((pitch if key is None else key) - pitch) / 12)
    return cycles_a_sample(pitch) * BANK_HZ * ratio * frames / RATE_HZ


def db(ratio: float) -> float:
    return float(20 * np.log10(ratio + 1e-12))


# --- loop

@pytest.mark.parametrize(("pitch", "key"), [(45, 45), (60, 60), (60, 61), (81, 80)])
def test_a_note_held_for_20_s_is_one_sine_without_a_seam(pitch, key):
    audio = play(engine_of([tone_table(pitch)]), [on(0, key)], 20 * RATE_HZ, 48_000)
    frames = np.arange(2_000, len(audio))
    rest = left_over(audio[2_000:], steady_cycles(pitch, frames, key))
    assert db(np.sqrt(2) * np.std(rest)) < -80
    passed = frames * BANK_HZ / RATE_HZ * 2 ** ((key - pitch) / 12) - LOOP_START
    at_seam = np.abs((passed + LOOP_SAMPLES / 2) % LOOP_SAMPLES - LOOP_SAMPLES / 2) < 100
    assert 20 * 150 < at_seam.sum() < len(rest) / 10
    assert np.std(rest[at_seam]) < 1.1 * np.std(rest[~at_seam])
    assert np.abs(rest[at_seam]).max() < 1.5 * np.abs(rest[~at_seam]).max()


@pytest.mark.parametrize("loop_samples", [1, 31, 300, COLUMN])
@pytest.mark.parametrize("key", [57, 60, 63])
def test_a_loop_is_what_it_would_be_written_out(loop_samples, key):
    rng = np.random.default_rng(4)
    cells = rng.integers(-9_000, 9_000, (2, 3, 3, 3 * COLUMN)).astype(np.int16)
    loop_start = 2 * COLUMN - loop_samples
    body = cells[..., :2 * COLUMN]
    turns = np.tile(body[..., loop_start:], 40 * COLUMN // loop_samples)[..., :38 * COLUMN]
    written_out = np.ascontiguousarray(np.concatenate([body, turns], axis=-1))
    events = [blend(0, 0.3, 0.6), on(0, key, 0.6), blend(9_000, 0.9, 0.2)]
    looped = play(engine_of([as_table(60, cells, loop_start, loop_samples)], [50, 100]), events, 20_000)
    assert np.array_equal(looped, play(engine_of([as_table(60, written_out)], [50, 100]), events, 20_000))
    assert np.abs(looped[15_000:]).max() > 0.001


def test_after_an_hour_a_loop_is_still_the_same():
    loop = 100 * COLUMN
    cells = np.random.default_rng(8).integers(-9_000, 9_000, (1, 2, 2, loop)).astype(np.int16)
    engine = engine_of([as_table(60, cells, 0, loop)], rate_hz=BANK_HZ)
    assert engine.send(0, _engine.NOTE_ON, key=60, a=1.0)
    out = np.empty((10 * loop, 2), np.float32)
    engine.render(out)
    first_turn = out[-loop:].copy()
    for _ in range(3_600 // 16):
        engine.render(out)
    assert np.array_equal(out[-loop:], first_turn)
    assert np.std(out) > 0.01


# --- decay

@pytest.mark.parametrize(("key", "table_db_per_s", "db_per_s"), [(60, 10.0, 10.0), (72, 5.0, 10.0), (48, 20.0, 10.0)])
def test_a_held_note_decays_from_the_loop_on_as_fast_as_it_is_read(key, table_db_per_s, db_per_s):
    audio = play(engine_of([tone_table(60, (0, 0, 0, table_db_per_s))]), [on(0, key)], 8 * RATE_HZ)
    begins_s = LOOP_START / BANK_HZ / 2 ** ((key - 60) / 12)
    hz = steady_cycles(60, np.array([RATE_HZ]), key)[0]

    def level(at_s: float) -> float:
        start = round(at_s * RATE_HZ)
        return level_of(audio[start:start + 4_800], hz)

    assert level(begins_s - 0.11) == pytest.approx(db(0.8 * VOICE_GAIN), abs=0.1)
    first_s = max(begins_s, 0.5)
    assert level(first_s) - level(first_s + 2.5) == pytest.approx(2.5 * db_per_s, abs=0.1)
    assert level(first_s) - level(first_s + 5.0) == pytest.approx(5.0 * db_per_s, abs=0.2)


def test_a_decay_is_a_clean_exponential_without_steps():
    audio = play(engine_of([tone_table(60, (0, 0, 0, 60.0))]), [on(0)], 40_000)
    frames = np.arange(2_000, 40_000)
    samples = frames * BANK_HZ / RATE_HZ
    fallen = 10 ** (-60 / 20 * np.maximum(0, samples - LOOP_START) / BANK_HZ)
    assert fallen[-1] < 0.05
    assert db(np.abs(left_over(audio[2_000:] / fallen, steady_cycles(60, frames))).max()) < -56


def test_decay_lies_between_those_of_the_corners_and_of_the_layers():
    motion = np.zeros((2, 4, 4), np.float32)
    motion[..., 3] = [[0, 8, 16, 40], [20, 20, 20, 20]]
    for (x, y, velocity), wanted in {(0, 0, 50): 0, (1, 0, 50): 8, (0, 1, 50): 16, (1, 1, 50): 40, (0.5, 0, 50): 4,
                                     (0.25, 0.5, 50): 0.75 * 8 + 0.25 * 24, (0, 0, 75): 10, (1, 0, 100): 20}.items():
        engine = engine_of([tone_table(60, motion, layers=2)], [50, 100])
        audio = play(engine, [blend(0, x, y), on(0, velocity=velocity / 127)], 76_800)
        hz = steady_cycles(60, np.array([RATE_HZ]))[0]
        fall_db = level_of(audio[24_000:28_800], hz) - level_of(audio[72_000:], hz)
        assert fall_db == pytest.approx(wanted, abs=0.05)


def test_decay_follows_the_knobs_without_a_click():
    motion = np.zeros((1, 4, 4), np.float32)
    motion[..., 3] = [0, 200, 0, 200]
    audio = play(engine_of([tone_table(45, motion)]), [on(0, 45), blend(0, 0, 0), blend(24_000, 1, 0)], 36_000)
    assert above(audio[12_000:], 3_000) < db(VOICE_GAIN) - 70
    hz = steady_cycles(45, np.array([RATE_HZ]))[0]
    assert level_of(audio[18_000:23_900], hz) == pytest.approx(db(0.8 * VOICE_GAIN), abs=0.1)
    assert level_of(audio[25_000:29_000], hz) - level_of(audio[31_000:35_000], hz) == pytest.approx(25, abs=0.5)


def test_a_voice_that_has_decayed_by_90_db_is_over():
    engine = engine_of([tone_table(60, (0, 0, 0, 200.0))])
    ends = round((LOOP_START / BANK_HZ + 90 / 200) * RATE_HZ)
    play(engine, [on(0)], ends - 480)
    assert engine.meters()["voices"] == 1
    play(engine, [], 960)
    assert engine.meters()["voices"] == 0


def test_what_has_decayed_is_stolen_before_what_was_softer():
    """Nothing but its decay speaks for stealing the first: it is the loudest, if the oldest, of them."""
    decaying, others = tone_table(60, (0, 0, 0, 60.0)), [tone_table(72), tone_table(84)]
    for first, stolen in ((decaying, 60), (tone_table(60), 72)):
        engine = engine_of([first, *others], polyphony=3)
        audio = play(engine, [on(0, 60), on(10, 72, 0.3), on(20, 84, 0.5), on(50_000, 85, 0.5)], 80_000)[52_000:]
        for pitch in (60, 72):
            level = level_of(audio, steady_cycles(pitch, np.array([RATE_HZ]))[0])
            assert level < -80 if pitch == stolen else level > -60


# --- release

def without_envelope(audio: np.ndarray, released_frame: int) -> np.ndarray:
    """What was played by SUSTAINED, without its fall of 60 dB in 60 s from the release on."""
    seconds = np.maximum(0, np.arange(len(audio)) - released_frame) / RATE_HZ
    return audio / (1.001 * np.exp(-np.log(1_001) * seconds / 60) - 0.001)


@pytest.mark.parametrize("released_frame", [5_000, 10_001, 30_123, 77_777, 200_003])
@pytest.mark.parametrize(("pitch", "key"), [(21, 21), (36, 37), (60, 60), (69, 69), (83, 83), (95, 94), (107, 108)])
def test_a_sine_goes_on_as_the_same_sine_when_it_is_let_go(pitch, key, released_frame):
    engine = engine_of([tone_table(pitch)], parameters=SUSTAINED)
    length = released_frame + 36_000
    audio = without_envelope(play(engine, [on(0, key), off(released_frame, key)], length), released_frame)
    frames = np.arange(2_000, length)
    assert db(np.abs(left_over(audio[2_000:], steady_cycles(pitch, frames, key))).max()) < -60
    assert engine.meters()["voices"] == 1


@pytest.mark.parametrize(("peak", "release_peak", "wanted"), [
    (0.8, 0.4, 0.8), (0.2, 0.8, 0.2), (0.8, 0.25, 0.8), (0.8, 0.1, 0.4), (0.4, 0.0, 0.0)])
def test_the_release_takes_over_the_bodys_level_up_to_four_times_its_own(peak, release_peak, wanted):
    table = tone_table(60, peak=peak, release_peak=release_peak)
    audio = without_envelope(play(engine_of([table], parameters=SUSTAINED), [on(0), off(30_000)], 60_000), 30_000)
    assert np.abs(audio[34_000:]).max() == pytest.approx(wanted * VOICE_GAIN, rel=2e-3, abs=1e-5)


def test_levels_are_read_where_the_note_is_let_go_between_cells_and_layers():
    cells, layers, columns = 3, 2, (LOOP_START + LOOP_SAMPLES + RELEASE_SAMPLES) // COLUMN
    first = (LOOP_START + LOOP_SAMPLES) // COLUMN
    rng = np.random.default_rng(3)  # straight lines, so that a mean over a while is the level in its middle
    levels = rng.uniform(0.2, 0.4, (layers, cells, cells, 1)) + rng.uniform(0, 0.01, (layers, cells, cells, 1)) * (
        np.arange(columns) - 35)
    levels[..., first:] = rng.uniform(0.2, 0.4, (layers, cells, cells, 1))
    table = list(tone_table(60))
    table[1] = np.ascontiguousarray(np.tile(table[1][:, :1, :1], (layers, cells, cells, 1)))
    table[4], table[5] = levels.astype(np.float32), np.zeros((layers, 4, 4), np.float32)
    x, y, share = 0.8, 0.35, 0.4
    mixed = np.einsum("lyxc,l,yx->c", levels, [1 - share, share], np.outer([0.3, 0.7, 0], [0, 0.4, 0.6]))
    for frame in (10_000, 39_000, 100_000):
        at = frame * BANK_HZ / RATE_HZ + 60  # what is faded is the next to be read, some 4 ms ahead of what is heard
        if at > LOOP_START:
            at = LOOP_START + (at - LOOP_START) % LOOP_SAMPLES
        wanted = np.interp(at / COLUMN - 0.5, np.arange(columns), mixed) / mixed[first]
        engine = engine_of([tuple(table)], [50, 100], parameters=SUSTAINED)
        velocity = (50 + 50 * share) / 127
        audio = play(engine, [blend(0, x, y), on(0, velocity=velocity), off(frame)], frame + 20_000)
        heard = np.abs(without_envelope(audio, frame)[frame + 4_000:]).max() / (0.8 * VOICE_GAIN * velocity**2)
        assert heard == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize(("pitch", "within_db"), [(21, 2.0), (28, 1.0), (33, 0.6), (40, 0.6), (45, 0.6), (57, 0.6)])
def test_a_train_of_pulses_keeps_its_level_though_columns_hold_now_one_now_two(pitch, within_db):
    wave = np.concatenate([tone(pitch, LOOP_START + LOOP_SAMPLES, 0.0), tone(pitch, RELEASE_SAMPLES, 0.0)])
    for start, end in ((0, LOOP_START + LOOP_SAMPLES), (LOOP_START + LOOP_SAMPLES, len(wave))):
        phase = 2 * np.pi * cycles_a_sample(pitch) * np.arange(end - start)
        wave[start:end] = np.mean([np.cos(k * phase) for k in range(1, 21)], axis=0)
    cells = np.tile(np.rint(wave * 32_767).astype(np.int16), (1, 2, 2, 1))
    table, period_s = as_table(pitch, cells, LOOP_START, LOOP_SAMPLES), 1 / (cycles_a_sample(pitch) * BANK_HZ)
    columns_db = 20 * np.log10(table[4][0, 0, 0])
    assert np.ptp(columns_db) > 1
    for released_frame in range(20_000, 24_000, 811):
        audio = play(engine_of([table], parameters=SUSTAINED), [on(0, pitch), off(released_frame, pitch)], 40_000)
        frames = round(period_s * RATE_HZ * round(0.15 / period_s))
        before, after = (np.std(part.astype(np.float64)) for part in (
            audio[released_frame - frames:released_frame],
            without_envelope(audio, released_frame)[released_frame + 2_000:released_frame + 2_000 + frames]))
        assert abs(db(after / before)) < within_db


@pytest.mark.parametrize("pitch", [24, 45, 60, 84, 100])
@pytest.mark.parametrize("released_frame", [20_000, 90_001])
def test_a_note_falls_off_20_ms_after_it_is_let_go_whatever_its_pitch(pitch, released_frame):
    table = tone_table(pitch, hold_samples=HOLD_SAMPLES)
    audio = play(engine_of([table], parameters=SUSTAINED), [on(0, pitch), off(released_frame, pitch)], 130_000)
    silent_s = (np.flatnonzero(np.abs(audio) > 1e-4)[-1] - released_frame) / RATE_HZ
    assert 0.015 < silent_s < 0.022 + 1 / (cycles_a_sample(pitch) * BANK_HZ)  # a period later, for the phase


def test_a_decayed_note_is_let_go_at_the_level_it_has_decayed_to():
    table = tone_table(60, (0, 0, 0, 12.0))
    audio = without_envelope(play(engine_of([table], parameters=SUSTAINED), [on(0), off(120_000)], 150_000), 120_000)
    fallen_db = 12 * (120_000 / RATE_HZ - LOOP_START / BANK_HZ)
    assert fallen_db > 24
    assert db(np.abs(audio[124_000:150_000]).max() / (0.8 * VOICE_GAIN)) == pytest.approx(-fallen_db, abs=0.1)


def test_the_envelopes_release_goes_on_top():
    engine = engine_of([tone_table(60)], parameters={**QUICK, _engine.RELEASE_MS: 300.0})
    audio = play(engine, [on(0), off(30_000)], 50_000)
    seconds = np.arange(14_000) / RATE_HZ
    curve = 1.001 * np.exp(-np.log(1_001) * seconds / 0.3) - 0.001
    peaks = np.abs(audio[30_000:44_000]).reshape(-1, 500).max(axis=1)  # a few periods each
    assert peaks == pytest.approx(0.8 * VOICE_GAIN * curve.reshape(-1, 500).max(axis=1), abs=0.01)
    assert engine.meters()["voices"] == 0


def test_the_releases_end_ends_the_voice_without_a_click():
    engine = engine_of([tone_table(48)], parameters=SUSTAINED)
    audio = play(engine, [on(0, 48), off(30_000, 48)], 90_000)
    longest = 30_000 + (RELEASE_SAMPLES + 400) * RATE_HZ // BANK_HZ
    assert np.abs(audio[longest - 6_000:longest - 4_000]).max() > 0.3
    assert np.all(audio[longest:] == 0)
    assert above(audio[6_000:], 3_000) < db(VOICE_GAIN) - 60
    assert engine.meters()["voices"] == 0


@pytest.mark.parametrize("loop_samples", [0, LOOP_SAMPLES])
def test_without_a_release_part_the_body_goes_on(loop_samples):
    start = LOOP_START if loop_samples else LOOP_START + LOOP_SAMPLES
    cells = tone_table(60)[1][..., :LOOP_START + LOOP_SAMPLES].copy()
    engine = engine_of([as_table(60, cells, start, loop_samples)], parameters=SUSTAINED)
    audio = without_envelope(play(engine, [on(0), off(10_000)], 44_000), 10_000)
    frames = np.arange(2_000, 44_000)
    assert db(np.abs(left_over(audio[2_000:], steady_cycles(60, frames))).max()) < -70


@pytest.mark.parametrize("released_before_its_end", [None, 60, 20, -20])
def test_a_body_without_a_loop_ends_without_a_click_and_without_its_release(released_before_its_end):
    table = list(tone_table(48))
    table[2], table[3] = LOOP_START + LOOP_SAMPLES, 0
    ends = (LOOP_START + LOOP_SAMPLES) * RATE_HZ // BANK_HZ
    engine = engine_of([tuple(table)], parameters=SUSTAINED)
    events = [] if released_before_its_end is None else [off(ends - released_before_its_end, 48)]
    audio = play(engine, [on(0, 48), *events], ends + 2_000)
    assert np.abs(audio[ends - 2_000:ends - 300]).max() > 0.3
    assert np.all(audio[ends + 500:] == 0)
    assert above(audio[6_000:], 3_000) < db(VOICE_GAIN) - 60
    assert engine.meters()["voices"] == 0


def test_a_note_under_the_pedal_is_released_when_the_pedal_is():
    table = tone_table(60, hold_samples=HOLD_SAMPLES)
    engine = engine_of([table], parameters=SUSTAINED)
    audio = play(engine, [PEDAL_DOWN, on(0), off(10_000), (60_000, *PEDAL_UP[1:])], 80_000)
    assert np.abs(audio[58_000:60_000]).max() > 0.3
    assert np.abs(audio[62_000:]).max() < 1e-4


@pytest.mark.parametrize("frames", [0, 1, 50, 400])
def test_a_key_hardly_touched_is_released_all_the_same(frames):
    engine = engine_of([tone_table(48)], parameters={**QUICK, _engine.RELEASE_MS: 100.0})
    audio = play(engine, [on(5_000, 48), off(5_000 + frames, 48)], 30_000)
    assert engine.meters()["voices"] == 0
    assert np.isfinite(audio).all()


def test_a_key_struck_again_in_its_release_and_stolen_in_it_leaves_no_click():
    slow = {**SUSTAINED, _engine.ATTACK_MS: 5.0}
    struck = [on(0, 48, 0.8), off(15_000, 48), on(15_300, 48, 0.8), off(30_000, 48), on(31_000, 48, 0.8),
              on(45_000, 48, 0.8)]
    for polyphony in (1, 2, 32):
        audio = play(engine_of([tone_table(48)], polyphony=polyphony, parameters=slow), struck, 60_000)
        assert above(audio[6_000:], 4_000) < db(VOICE_GAIN) - 55
        assert np.abs(audio).max() > 0.2


def test_a_release_is_heard_through_moving_knobs_without_a_click():
    cells = tone_table(48)[1].copy()
    cells[:, :, 1] //= 4
    moves = [blend(29_000 + 100 * i, i / 60, i / 60) for i in range(61)]
    engine = engine_of([as_table(48, cells, LOOP_START, LOOP_SAMPLES)], parameters=SUSTAINED)
    audio = play(engine, [on(0, 48), off(30_011, 48), *moves], 60_000)
    assert above(audio[6_000:], 3_000) < db(VOICE_GAIN) - 65


# --- velocity

def test_between_two_layers_the_velocity_blends_and_outside_the_nearest_sounds():
    layers = np.stack([constant([[level] * 2] * 2) for level in (0.8, 0.2, 0.5)])
    for velocity, wanted in {9: 0.8, 40: 0.8, 50: 0.6, 60: 0.4, 70: 0.2, 80: 0.3, 99: 0.49, 100: 0.5, 127: 0.5}.items():
        audio = play(engine_of([as_table(60, layers)], [40, 70, 100]), [on(0, velocity=velocity / 127)], 4_000)
        assert audio[-1] / (VOICE_GAIN * (velocity / 127) ** 2) == pytest.approx(wanted, abs=1e-3)


def test_two_timbres_are_blended_in_a_straight_line_by_velocity():
    soft, hard = (np.rint(26_000 * np.sin(2 * np.pi * hz / BANK_HZ * np.arange(16_128))).astype(np.int16)
                  for hz in (500, 1_500))
    cells = np.stack([np.tile(soft, (2, 2, 1)), np.tile(hard, (2, 2, 1))])
    for velocity in (40, 55, 70, 85, 100):
        audio = play(engine_of([as_table(60, cells)], [40, 100]), [on(0, velocity=velocity / 127)], 40_000)[2_000:]
        gain, share = VOICE_GAIN * (velocity / 127) ** 2 * 26_000 / 32_768, (velocity - 40) / 60
        for hz, part in ((500, 1 - share), (1_500, share)):
            heard = level_of(audio, hz)
            assert heard == pytest.approx(db(gain * part), abs=0.5) if part > 0 else heard < -90


def test_layers_and_cells_are_blended_together_while_knobs_move():
    levels = np.random.default_rng(2).uniform(0.1, 0.9, (2, 3, 3))
    cells = np.stack([constant(layer) for layer in levels])
    share, moved = 0.35, (0.7, 0.4)
    velocity = (50 + 50 * share) / 127
    engine = engine_of([as_table(60, cells)], [50, 100])
    audio = play(engine, [blend(0, 0.1, 0.2), on(0, velocity=velocity), blend(5_000, *moved)], 12_000)
    mixed = (1 - share) * levels[0] + share * levels[1]
    for frame, (x, y) in ((4_900, (0.1, 0.2)), (11_900, moved)):
        across, down = (np.maximum(0, 1 - np.abs(2 * place - np.arange(3))) for place in (x, y))
        assert audio[frame] / (VOICE_GAIN * velocity**2) == pytest.approx(down @ mixed @ across, abs=1e-3)


def test_a_voices_layers_are_its_own():
    cells = np.stack([constant([[level] * 2] * 2) for level in (0.4, 0.1)])
    engine = engine_of([as_table(60, cells)], [50, 100])
    audio = play(engine, [on(0, 60, 50 / 127), on(4_000, 62, 100 / 127)], 8_000) / VOICE_GAIN
    assert audio[3_900] == pytest.approx(0.4 * (50 / 127) ** 2, abs=1e-4)
    assert audio[7_900] == pytest.approx(0.4 * (50 / 127) ** 2 + 0.1 * (100 / 127) ** 2, abs=1e-4)


# --- vibrato

def cents_of(audio: np.ndarray, hz: float) -> np.ndarray:
    """Instantaneous pitch of a tone, in cents off a frequency, at each frame but the last."""
    phase = np.unwrap(np.angle(signal.hilbert(audio.astype(np.float64))))
    return 1_200 * np.log2(np.maximum(np.diff(phase), 1e-9) * RATE_HZ / (2 * np.pi) / hz)  # it rings at the ends


def fit_sine(values: np.ndarray, seconds: np.ndarray, around_hz: float) -> tuple[float, float]:
    """Rate and depth of the sine that is in some values."""
    def rest(hz: float) -> tuple[float, float]:
        basis = np.stack([np.sin(2 * np.pi * hz * seconds), np.cos(2 * np.pi * hz * seconds)], axis=1)
        found, *_ = np.linalg.lstsq(basis, values, rcond=None)
        return float(np.std(values - basis @ found)), float(np.linalg.norm(found))
    rates = around_hz * np.linspace(0.9, 1.1, 201)
    best = min(rates, key=lambda hz: rest(hz)[0])
    return float(best), rest(best)[1]


def heard_vibrato(audio: np.ndarray, hz: float, start_s: float, end_s: float, around_hz: float) -> tuple[float, float]:
    start, end = round(start_s * RATE_HZ), round(end_s * RATE_HZ)
    return fit_sine(cents_of(audio, hz)[start:end:10], np.arange(start, end, 10) / RATE_HZ, around_hz)


def wheel(frame: int, a: float, channel: int = 0) -> Sent:
    return frame, _engine.MOD_WHEEL, channel, 0, a, 0.0


@pytest.mark.parametrize("key", [60, 72, 55])
@pytest.mark.parametrize(("turned", "factor"), [(0.0, 1.0), (0.5, 2.0), (1.0, 3.0), (7.0, 3.0), (-1.0, 1.0)])
def test_vibrato_has_its_rate_and_depth_in_every_key_and_the_wheel_deepens_it(key, turned, factor):
    engine = engine_of([tone_table(60, (5.5, 25.0, 0.3, 0.0))])
    audio = play(engine, [wheel(0, turned), on(0, key)], 3 * RATE_HZ)
    hz = steady_cycles(60, np.array([RATE_HZ]), key)[0]
    rate_hz, depth_cents = heard_vibrato(audio, hz, 0.6, 2.8, 5.5)
    assert rate_hz == pytest.approx(5.5, rel=0.02)
    assert depth_cents == pytest.approx(25 * factor, rel=0.02)


@pytest.mark.parametrize("delay_s", [0.0, 0.4, 1.5])
def test_vibrato_sets_in_around_its_delay(delay_s):
    audio = play(engine_of([tone_table(60, (7.0, 30.0, delay_s, 0.0))]), [on(0)], 4 * RATE_HZ)
    frames = np.arange(len(audio) - 1)
    cents = signal.savgol_filter(cents_of(audio, steady_cycles(60, np.array([RATE_HZ]))[0]), 301, 3)
    seconds = frames / RATE_HZ
    rise = np.clip(seconds / delay_s - 0.5, 0, 1) if delay_s else np.ones(len(seconds))
    wanted = 30 * (0.5 - 0.5 * np.cos(np.pi * rise)) * np.sin(2 * np.pi * 7 * seconds)
    sounding = slice(2_400, -2_400)  # the transform rings at the ends
    assert np.abs(cents - wanted)[sounding].max() < 0.6
    assert np.abs(cents[sounding]).max() > 29


@pytest.mark.parametrize("rate_hz", [16_000, 48_000, 96_000])
def test_a_vibrato_is_the_sine_of_its_formula_without_zipper_noise(rate_hz):
    engine = engine_of([tone_table(76, (6.0, 40.0, 0.0, 0.0))], rate_hz=rate_hz)
    audio = play(engine, [wheel(0, 1.0), on(0, 76)], 2 * rate_hz)
    frames = np.arange(2 * rate_hz)
    cents = 120 * np.sin(2 * np.pi * 6 * frames / rate_hz)
    cycles = cycles_a_sample(76) * BANK_HZ / rate_hz * np.concatenate([[0], np.cumsum(2 ** (cents / 1_200))[:-1]])
    rest = left_over(audio[rate_hz // 20:], cycles[rate_hz // 20:])
    # What the straight lines of the pitch miss lies at the vibrato's own harmonics; zipper noise would lie off them.
    window = signal.windows.kaiser(len(rest), 14)
    levels = np.abs(np.fft.rfft(rest * window)) * 2 / window.sum()
    assert db(np.std(rest)) < (-40 if rate_hz < 48_000 else -60)
    off_tone = np.abs(np.fft.rfftfreq(len(rest), 1 / rate_hz) - cycles_a_sample(76) * BANK_HZ) > 200
    assert db(levels[off_tone].max()) < -70


def test_vibrato_is_weighed_by_depth_between_corners_and_layers():
    motion = np.zeros((2, 4, 4), np.float32)
    motion[0, :, :3] = [(4, 20, 0.1), (8, 60, 0.5), (12, 0, 4), (12, 0, 4)]
    motion[1, :, :3] = [(6, 40, 0.2)] * 4

    def heard(x: float, velocity: float, around_hz: float) -> tuple[float, float]:
        engine = engine_of([tone_table(72, motion, layers=2)], [50, 100])
        audio = play(engine, [blend(0, x, 0), on(0, 72, velocity / 127)], 3 * RATE_HZ)
        return heard_vibrato(audio, steady_cycles(72, np.array([RATE_HZ]))[0], 0.9, 2.8, around_hz)

    assert heard(0, 50, 4) == pytest.approx((4, 20), rel=0.02)
    assert heard(0.5, 50, 7) == pytest.approx(((4 * 20 + 8 * 60) / 80, 40), rel=0.02)
    assert heard(0, 75, 5) == pytest.approx(((4 * 20 + 6 * 40) / 60, 30), rel=0.02)
    assert heard(0, 127, 6) == pytest.approx((6, 40), rel=0.02)


def test_a_corner_without_vibrato_has_no_word_in_its_rate_and_delay():
    motion = np.zeros((1, 4, 4), np.float32)
    motion[0, :, :3] = [(5, 60, 0.0), (12, 0, 4.0), (5, 60, 0.0), (12, 0, 4.0)]
    audio = play(engine_of([tone_table(72, motion)]), [blend(0, 0.5, 0.5), on(0, 72)], 2 * RATE_HZ)
    hz = steady_cycles(72, np.array([RATE_HZ]))[0]
    assert heard_vibrato(audio, hz, 0.1, 1.9, 5) == pytest.approx((5, 30), rel=0.02)


def test_the_wheel_is_its_channels_and_glides():
    table = tone_table(60, (5.0, 10.0, 0.0, 0.0))
    untouched = play(engine_of([table]), [on(0)], RATE_HZ)
    assert np.array_equal(play(engine_of([table]), [wheel(0, 1.0, channel=3), on(0)], RATE_HZ), untouched)
    turned = play(engine_of([table]), [on(0), wheel(24_000, 1.0), wheel(36_000, 0.0)], RATE_HZ)
    assert np.array_equal(turned[:24_000], untouched[:24_000])
    cents = cents_of(turned, steady_cycles(60, np.array([RATE_HZ]))[0])[4_800:-4_800]
    assert np.abs(np.diff(signal.sosfilt(signal.butter(4, 400, fs=RATE_HZ, output="sos"), cents)[1_000:])).max() < 0.1
    assert np.abs(cents[24_000:30_000]).max() > 25
    assert above(turned[6_000:], 3_000) < db(VOICE_GAIN) - 70


def test_vibrato_without_depth_changes_nothing():
    still = play(engine_of([tone_table(60)]), [on(0)], 20_000)
    shallow = play(engine_of([tone_table(60, (6.0, 0.0, 0.1, 0.0))]), [wheel(0, 1.0), on(0)], 20_000)
    assert np.array_equal(still, shallow)


def test_vibrato_and_bend_add_up_and_go_on_in_the_release():
    engine = engine_of([tone_table(60, (6.0, 20.0, 0.0, 0.0))], parameters=SUSTAINED)
    bend = (0, _engine.BEND, 0, 0, 1.0, 0.0)
    audio = play(engine, [bend, on(0), off(48_000)], 90_000)
    hz = steady_cycles(60, np.array([RATE_HZ]), 61)[0]
    assert heard_vibrato(audio, hz, 0.2, 1.7, 6) == pytest.approx((6, 20), rel=0.02)


def test_motion_beyond_what_a_preset_holds_is_clipped():
    play_of = {}
    for motion in ((1e30, 1e30, 1e30, 1e30), (12, 200, 4, 200), (-1, -1, -1, -1), STILL):
        play_of[motion] = play(engine_of([tone_table(60, motion)]), [wheel(0, 1.0), on(0)], 48_000)
    (beyond, most, below, none) = play_of.values()
    assert np.array_equal(beyond, most)
    assert np.array_equal(below, none)
    assert not np.array_equal(most, none)


# --- promises

def random_tables(rng: np.random.Generator, layers: int, grid: int) -> list[Table]:
    tables = []
    for pitch in (40, 60, 64):
        columns = int(rng.integers(3, 20))
        cells = rng.integers(-9_000, 9_000, (layers, grid, grid, columns * COLUMN)).astype(np.int16)
        end = int(rng.integers(1, columns + 1)) * COLUMN
        loop_samples = int(rng.choice([0, 1, 37, 256, end]))
        motion = (rng.random((layers, 4, 4)) * [12, 200, 1, 100]).astype(np.float32)
        tables.append(as_table(pitch, cells, end - loop_samples, loop_samples, motion))
    return tables


@pytest.mark.parametrize("block", [1, 7, 64, 1_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_samples_come_however_time_is_cut_into_blocks(block, seed):
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(1, 5))
    tables, velocities = random_tables(rng, layers, 3), [30, 60, 90, 120][:layers]
    events = random_events(rng, 150, 24_000)
    whole = play(engine_of(tables, velocities, polyphony=6), events, 24_000, block=24_000)
    assert np.abs(whole).max() > 0.02
    assert np.array_equal(play(engine_of(tables, velocities, polyphony=6), events, 24_000, block), whole)
