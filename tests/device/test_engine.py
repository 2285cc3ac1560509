"""The engine's sound held against SciPy, textbook curves and its own promises, through the Python binding."""

import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from playing import (
    BANK_HZ,
    QUICK,
    RATE_HZ,
    VOICE_GAIN,
    Sent,
    above,
    as_table,
    blend,
    constant,
    engine_with,
    level_of,
    off,
    on,
    play,
    play_stereo,
    random_events,
    sine,
    spectrum_db,
    tone_hz,
)
from scipy import signal

from device import _engine
from device._engine import Engine

ENGINE = Path(__file__).parents[2] / "device" / "engine"


# --- resampling

@pytest.mark.parametrize("hz", [50, 1_000, 3_100, 5_000, 7_000, 7_600, 7_950])
def test_images_are_80_db_down(hz):
    audio = play(engine_with({60: sine(hz)}), [on(0)], 60_000)[2_000:]
    bins, levels = spectrum_db(audio)
    reference = 20 * np.log10(0.9 * VOICE_GAIN)
    assert levels[np.abs(bins - hz) > 20].max() < reference - 80


@pytest.mark.parametrize("hz", [30, 440, 2_000, 4_000, 6_000, 7_000])
def test_the_passband_is_flat_to_7_khz(hz):
    audio = play(engine_with({60: sine(hz)}), [on(0)], 60_000)[2_000:]
    assert level_of(audio, hz) == pytest.approx(20 * np.log10(0.9 * VOICE_GAIN), abs=0.5)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("semitones", [-36, -12, -2, -1, 1, 2, 12, 17])
def test_a_transposed_tone_is_alone_and_in_tune(rate_hz, semitones):
    audio = play(engine_with({60: sine(3_000, 64_000)}, rate_hz), [on(0, 60 + semitones)], rate_hz // 2)
    audio = audio[rate_hz // 50:]
    wanted_hz = 3_000 * 2 ** (semitones / 12)
    bins, levels = spectrum_db(audio, rate_hz)
    if wanted_hz < 0.4 * rate_hz:
        assert 1_200 * abs(np.log2(tone_hz(audio, rate_hz) / wanted_hz)) < 0.1
    others = np.abs(bins - wanted_hz) > 40
    assert levels[others].max() < 20 * np.log10(0.9 * VOICE_GAIN) - 80


def test_what_a_transposition_lifts_over_the_cards_limit_does_not_alias():
    audio = play(engine_with({60: sine(7_000, 64_000)}, 16_000), [on(0, 72)], 16_000)[500:]
    assert spectrum_db(audio, 16_000)[1].max() < 20 * np.log10(VOICE_GAIN) - 80


def test_a_table_is_played_as_scipy_resamples_it_and_without_delay():
    noise = np.random.default_rng(1).normal(size=16_128)  # whole columns
    slow = signal.sosfiltfilt(signal.butter(8, 1_000, fs=BANK_HZ, output="sos"), noise)
    slow *= signal.windows.tukey(len(slow), 0.2) * 0.5 / np.abs(slow).max()
    table = np.tile(np.rint(slow * 32_767).astype(np.int16), (2, 2, 1))
    audio = play(engine_with({60: table}), [on(0)], 48_384)
    reference = signal.resample(slow, 48_384) * VOICE_GAIN
    error = (audio - reference)[480:]
    assert 20 * np.log10(np.std(error) / np.std(reference)) < -60


def test_the_nearest_pitch_is_played_and_the_lower_of_two():
    engine = engine_with({60: sine(500), 64: sine(3_000)})
    heard = []
    for start, key in ((0, 61), (1, 62), (2, 63)):
        audio = play(engine, [on(0, key), (9_000, _engine.ALL_SOUND_OFF, 0, 0, 0.0, 0.0)], 10_000)[1_000:9_000]
        heard.append(tone_hz(audio))
        assert start < 3
    assert heard == pytest.approx([500 * 2 ** (1 / 12), 500 * 2 ** (2 / 12), 3_000 * 2 ** (-1 / 12)], rel=1e-3)


@pytest.mark.parametrize("key", [0, 127])
def test_a_single_pitch_serves_every_key(key):
    rng = np.random.default_rng(2)
    for pitch in (0, 60, 127):
        table = rng.integers(-32_768, 32_768, (2, 2, 3_072)).astype(np.int16)
        audio = play(engine_with({pitch: table}), [on(0, key)], 20_000)
        assert np.isfinite(audio).all()


# --- blend

def test_corners_are_the_corner_cells_and_the_middle_is_their_mean():
    cells = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.15]]
    for (x, y), wanted in {(0, 0): 0.1, (1, 0): 0.3, (0, 1): 0.7, (1, 1): 0.15, (0.5, 0.5): 0.5,
                           (0.25, 0.25): 0.3, (0.6, 0.9): 0.8 * (0.2 * 0.5 + 0.8 * 0.8) + 0.2 * (0.2 * 0.6 + 0.8 * 0.15)
                           }.items():
        audio = play(engine_with({60: constant(cells)}), [blend(0, x, y), on(0)], 4_000)
        assert audio[-1] == pytest.approx(wanted * VOICE_GAIN, abs=4e-5)


def test_a_sounding_note_follows_the_knobs_smoothly_across_cell_borders():
    grid = np.linspace(0, 0.9, 5)
    cells = grid[None, :] * np.ones((5, 1))
    audio = play(engine_with({60: constant(cells)}), [blend(0, 0, 0.3), on(0), blend(4_800, 1, 0.8)], 9_600)
    moved = audio[4_700:]
    assert moved[0] == pytest.approx(0, abs=1e-6)
    assert moved[-1] == pytest.approx(0.9 * VOICE_GAIN, abs=4e-5)
    assert np.abs(np.diff(moved)).max() < 0.9 * VOICE_GAIN * 0.006  # a step alone would be 1
    assert np.abs(np.diff(moved, 3)).max() < 0.9 * VOICE_GAIN * 2e-4  # a corner at a border would stand out
    reached = np.argmax(moved > 0.9 * 0.9 * VOICE_GAIN) - 100
    assert reached / RATE_HZ < 0.012


def test_a_note_begins_where_the_knobs_stand():
    engine = engine_with({60: constant([[0.0, 0.0], [0.0, 0.9]])})
    begun = play(engine, [blend(0, 1, 1), on(0)], 9_600)
    later = play(engine_with({60: constant([[0.9] * 2] * 2)}), [on(0)], 9_600)
    assert np.array_equal(begun, later)


def test_a_fast_move_over_many_cells_never_leaves_what_they_hold():
    teeth = [[0.0, 0.9, 0.0, 0.9, 0.0, 0.9, 0.0, 0.9, 0.0]] * 9
    moves = [blend(4_800 + 300 * i, i % 2, i % 3 / 2) for i in range(10)]
    audio = play(engine_with({60: constant(teeth)}), [blend(0, 0, 0), on(0), *moves], 9_600)[4_000:]
    assert audio.min() > -0.01 * VOICE_GAIN
    assert 0.8 * VOICE_GAIN < audio.max() < 0.91 * VOICE_GAIN


@pytest.mark.parametrize("steps", [1, 2, 10, 50])
def test_a_knob_swept_or_jumped_leaves_no_click(steps):
    table = sine(400)
    table[:, 1] = sine(400, peak=0.2)[:, 1]
    table[1] = -table[1]
    sweep = [blend(12_000 + round(2_400 * i / steps), i / steps, i / steps) for i in range(1, steps + 1)]
    audio = play(engine_with({60: table}), [on(0), *sweep], 24_000)
    limit_db = -80 if steps >= 10 else -70  # a knob turned in 50 ms; a jump, as from a controller of few steps
    assert above(audio[6_000:], 3_000) < 20 * np.log10(VOICE_GAIN) + limit_db


# --- envelope, velocity, pedal, bend

def envelope_curve(times_s: np.ndarray, attack_s: float, decay_s: float, sustain: float) -> np.ndarray:
    """Charging to 1.3 and cut at 1; then falling towards the sustain level, cut where 60 dB of the way are done."""
    rise = 1.3 * (1 - np.exp(-np.log(1.3 / 0.3) * times_s / attack_s))
    beyond = sustain - 0.001 * (1 - sustain)
    fall = beyond + (1 - beyond) * np.exp(-np.log(1.001 / 0.001) * (times_s - attack_s) / decay_s)
    return np.where(times_s < attack_s, rise, np.maximum(fall, sustain))


def test_the_envelope_is_the_analytic_one():
    times = {_engine.ATTACK_MS: 40.0, _engine.DECAY_MS: 300.0, _engine.SUSTAIN_LEVEL: 0.4, _engine.RELEASE_MS: 200.0}
    engine = engine_with({60: constant([[0.5] * 2] * 2)}, parameters=times)
    audio = play(engine, [on(0), off(24_000)], 40_000) / (0.5 * VOICE_GAIN)
    seconds = np.arange(40_000) / RATE_HZ
    curve = envelope_curve(seconds, 0.04, 0.3, 0.4)
    assert np.abs(audio[240:24_000] - curve[240:24_000]).max() < 1e-3
    release = np.maximum(0, (0.4 + 0.001) * np.exp(-np.log(1_001) * (seconds - 0.5) / 0.2) - 0.001)
    assert np.abs(audio[24_000:] - release[24_000:]).max() < 1e-3
    assert np.all(audio[24_000 + 9_600:] == 0)
    assert engine.meters()["voices"] == 0


@pytest.mark.parametrize("released_frame", [480, 3_000])
def test_a_release_goes_on_from_where_attack_or_decay_were(released_frame):
    times = {_engine.ATTACK_MS: 40.0, _engine.DECAY_MS: 300.0, _engine.SUSTAIN_LEVEL: 0.4, _engine.RELEASE_MS: 200.0}
    audio = play(engine_with({60: constant([[0.5] * 2] * 2)}, parameters=times), [on(0), off(released_frame)], 14_000)
    reached = envelope_curve(np.array([released_frame / RATE_HZ]), 0.04, 0.3, 0.4)[0]
    falling_s = np.arange(14_000 - released_frame) / RATE_HZ
    release = np.maximum(0, (reached + 0.001) * np.exp(-np.log(1_001) * falling_s / 0.2) - 0.001)
    assert np.abs(audio[released_frame:] / (0.5 * VOICE_GAIN) - release).max() < 1e-3


def test_a_sustain_level_of_zero_ends_the_voice():
    engine = engine_with({60: sine(300)}, parameters={**QUICK, _engine.SUSTAIN_LEVEL: 0.0, _engine.DECAY_MS: 20.0})
    assert np.all(play(engine, [on(0)], 4_000)[2_000:] == 0)
    assert engine.meters()["voices"] == 0


def test_loudness_is_the_square_of_velocity():
    for velocity in (1.0, 0.5, 0.1):
        audio = play(engine_with({60: constant([[0.5] * 2] * 2)}), [on(0, velocity=velocity)], 4_000)
        assert audio[-1] == pytest.approx(0.5 * VOICE_GAIN * velocity**2, rel=1e-4)


def test_volume_is_ramped():
    engine = engine_with({60: constant([[0.5] * 2] * 2)})
    audio = play(engine, [on(0), (4_000, _engine.PARAMETER, 0, _engine.VOLUME, 0.25, 0.0)], 9_000)
    assert audio[-1] == pytest.approx(0.25 * audio[3_999], rel=1e-4)
    assert np.abs(np.diff(audio[3_000:])).max() < 0.01 * audio[3_999]


def test_velocity_zero_is_a_note_off():
    engine = engine_with({60: sine(300)})
    play(engine, [on(0), on(1_000, velocity=0.0)], 9_000)
    assert engine.meters()["voices"] == 0


def test_the_pedal_holds_what_is_let_go_on_its_channel_alone():
    engine = engine_with({60: sine(300, 64_000)})
    down, up = (0, _engine.SUSTAIN, 3, 0, 1.0, 0.0), (20_000, _engine.SUSTAIN, 3, 0, 0.0, 0.0)
    play(engine, [down, on(0, 60, channel=3), on(0, 64, channel=4), off(100, 60, 3), off(100, 64, 4)], 10_000)
    assert engine.meters()["voices"] == 1
    play(engine, [(up[0] - 10_000, *up[1:])], 20_000)
    assert engine.meters()["voices"] == 0


def test_a_bend_moves_the_pitch_of_its_channel():
    engine = engine_with({60: sine(1_000, 64_000)})
    bend = (0, _engine.BEND, 2, 0, 2.0, 0.0)
    audio = play(engine, [on(0, 60, channel=2), on(0, 72, channel=1), bend], 40_000)[2_000:]
    assert level_of(audio, 1_000 * 2 ** (2 / 12)) > -20
    assert level_of(audio, 2_000) > -20
    assert level_of(audio, 1_000) < -90


def test_a_note_begun_under_a_bend_is_bent():
    audio = play(engine_with({60: sine(1_000)}), [(0, _engine.BEND, 0, 0, -2.0, 0.0), on(100)], 30_000)[2_000:]
    assert tone_hz(audio) == pytest.approx(1_000 * 2 ** (-2 / 12), rel=1e-4)


def test_a_bend_of_a_sounding_note_leaves_no_click():
    bends = [(12_000 + 64 * i, _engine.BEND, 0, 0, i / 32, 0.0) for i in range(64)]
    audio = play(engine_with({60: sine(400, 64_000)}), [on(0), *bends], 24_000)
    assert above(audio[6_000:], 3_000) < 20 * np.log10(VOICE_GAIN) - 60


def test_a_key_struck_again_leaves_one_voice_and_no_click():
    engine = engine_with({60: sine(200, 64_000)}, parameters={**QUICK, _engine.ATTACK_MS: 5.0})
    audio = play(engine, [on(0), on(10_013)], 20_000)
    assert engine.meters()["voices"] == 1
    assert above(audio[6_000:], 3_000) < 20 * np.log10(VOICE_GAIN) - 55  # the corner where the attack begins


def test_the_end_of_a_table_ends_the_voice_without_a_click():
    engine = engine_with({60: sine(201, 8_192)})
    audio = play(engine, [on(0)], 30_000)
    assert np.abs(audio[22_500:24_000]).max() > 0.2
    assert above(audio[6_000:], 3_000) < 20 * np.log10(VOICE_GAIN) - 60
    assert engine.meters()["voices"] == 0
    assert np.all(audio[25_500:] == 0)


# --- polyphony

def test_a_hundred_notes_at_once_are_the_limit_and_the_newest_sound():
    tables = {key: sine(100 + 37 * key, 64_000) for key in range(20, 120)}
    engine = engine_with(tables, polyphony=32, parameters={**QUICK, _engine.RELEASE_MS: 60_000.0})
    audio = play(engine, [on(0, key, 0.2) for key in range(20, 120)], 40_000)[1_000:]
    assert engine.meters() == {"voices": 32, "limit": 32, "stolen": 68, "ignored": 0, "dropped": 0}
    for key in range(20, 120):
        heard = level_of(audio, 100 + 37 * key) > -60
        assert heard == (key == 20 or key >= 89)  # the lowest stays


def test_long_releases_do_not_pass_the_limit():
    engine = engine_with({60: sine(300, 64_000)}, polyphony=8, parameters={**QUICK, _engine.RELEASE_MS: 60_000.0})
    for key in range(30, 90):
        play(engine, [on(0, key), off(50, key)], 100)
        assert engine.meters()["voices"] <= 8


def test_the_released_go_first_then_the_held_by_pedal_then_the_quiet():
    tables = {key: sine(500 + 100 * (key - 60), 64_000) for key in range(60, 68)}
    parameters = {**QUICK, _engine.RELEASE_MS: 60_000.0}

    def after_stealing(polyphony: int, before: list[Sent], stealing: int) -> set[int]:
        engine = engine_with(tables, polyphony=polyphony, parameters=parameters)
        audio = play(engine, [*before, *(on(10_000, 67 - i, 0.5) for i in range(stealing))], 50_000)[12_000:]
        return {key for key in tables if level_of(audio, 500 + 100 * (key - 60)) > -60}

    pedal = (0, _engine.SUSTAIN, 1, 0, 1.0, 0.0)
    before = [pedal, on(0, 60, 0.7), on(0, 61, 0.1), on(10, 63, 0.5), off(5_000, 63),
              on(20, 62, 0.5, channel=1), off(5_000, 62, 1)]
    assert after_stealing(4, before, 0) == {60, 61, 62, 63}
    assert after_stealing(4, before, 1) == {60, 61, 62, 67}
    assert after_stealing(4, before, 2) == {60, 61, 66, 67}
    assert after_stealing(4, before, 3) == {60, 65, 66, 67}


def test_the_newest_is_not_stolen_though_it_is_released():
    engine = engine_with({60: sine(500, 64_000), 70: sine(2_000, 64_000), 80: sine(5_000, 64_000)}, polyphony=2,
                         parameters={**QUICK, _engine.RELEASE_MS: 60_000.0})
    audio = play(engine, [on(0, 60), on(10, 70), off(5_000, 70), on(10_000, 80)], 50_000)[12_000:]
    assert level_of(audio, 500) < -90
    assert level_of(audio, 2_000) > -30
    assert level_of(audio, 5_000) > -30


def test_stealing_makes_no_click_and_fades_within_3_ms():
    engine = engine_with({40: sine(200, 64_000), 90: np.zeros((2, 2, 64_000), np.int16)}, polyphony=1)
    audio = play(engine, [on(0, 40), on(12_060, 90)], 20_000)
    assert np.abs(audio[11_000:12_000]).max() > 0.2
    assert np.all(audio[12_060 + 144:] == 0)
    assert above(audio[6_000:], 6_000) < 20 * np.log10(VOICE_GAIN) - 60


def test_all_sound_off_is_silent_after_3_ms_without_a_click():
    engine = engine_with({60: sine(200, 64_000)})
    audio = play(engine, [on(0), (12_060, _engine.ALL_SOUND_OFF, 0, 0, 0.0, 0.0)], 20_000)
    assert np.all(audio[12_060 + 144:] == 0)
    assert above(audio[6_000:], 6_000) < 20 * np.log10(VOICE_GAIN) - 60


def test_all_notes_off_lets_go_of_one_channel():
    engine = engine_with({60: sine(200, 64_000)})
    play(engine, [on(0, 60, channel=1), on(0, 61, channel=1), on(0, 62), (500, _engine.ALL_NOTES_OFF, 1, 0, 0.0, 0.0)],
         9_000)
    assert engine.meters()["voices"] == 1


# --- limiter

def test_below_3_db_the_limiter_does_nothing_and_above_it_keeps_within_1():
    def peak(voices: int) -> tuple[float, float]:
        engine = engine_with({60: constant([[0.125 / VOICE_GAIN] * 2] * 2)})
        audio = play(engine, [on(0, 60, channel=i) for i in range(voices)], 4_000)
        return float(np.abs(audio).max()), float(audio[-1])

    assert peak(5)[1] == pytest.approx(5 * 0.125, rel=1e-4)
    levels = [peak(voices)[1] for voices in range(1, 17)]
    knee = 10 ** (-3 / 20)
    for voices, level in enumerate(levels, 1):  # a hyperbola of slope 1 at the knee, and of height 1
        over = (voices * 0.125 - knee) / (1 - knee)
        assert level == pytest.approx(voices * 0.125 if over < 0 else knee + (1 - knee) * over / (1 + over), rel=1e-3)
    assert peak(16)[0] <= 1.0


def test_a_limited_tone_keeps_its_shape():
    engine = engine_with({60: sine(440, 64_000)})
    audio = play(engine, [on(0, 60, channel=i) for i in range(10)], 60_000)[20_000:]  # 8 dB over
    bins, levels = spectrum_db(audio)
    assert levels[np.abs(bins - 440) > 40].max() < levels.max() - 50


# --- promises

@pytest.mark.parametrize("block", [1, 7, 64, 1_000])
def test_the_same_samples_come_however_time_is_cut_into_blocks(block):
    rng = np.random.default_rng(5)
    tables = {pitch: rng.integers(-9_000, 9_000, (3, 3, 4_096)).astype(np.int16) for pitch in (40, 60, 64)}
    events = random_events(rng, 150, 24_000)
    whole = play_stereo(engine_with(tables, polyphony=6), events, 24_000, block=24_000)
    assert np.abs(whole).max() > 0.05
    assert np.array_equal(play_stereo(engine_with(tables, polyphony=6), events, 24_000, block), whole)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), polyphony=st.sampled_from([1, 2, 5, 32]),
       rate_hz=st.sampled_from([16_000, 44_100, 48_000, 192_000]),
       pitches=st.sets(st.integers(0, 127), min_size=1, max_size=4))
@example(seed=105_745, polyphony=1, rate_hz=16_000, pitches={0})  # a key followed in the midst of a glide
def test_any_events_give_finite_sound_within_1_and_silence_at_the_end(seed, polyphony, rate_hz, pitches):
    rng = np.random.default_rng(seed)
    grid, samples = int(rng.integers(2, 6)), int(rng.choice([256, 512, 2_048]))
    tables = {pitch: rng.choice([-32_768, 32_767], (grid, grid, samples)).astype(np.int16) for pitch in pitches}
    engine = engine_with(tables, rate_hz, polyphony)
    heard = []
    for _ in range(10):
        frames = int(rng.integers(0, 3_000))
        heard.append(play_stereo(engine, random_events(rng, int(rng.integers(40)), frames + 1), frames, frames + 1))
        assert 0 <= engine.meters()["voices"] <= polyphony
    audio = np.concatenate(heard)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max(initial=0) <= 1
    mixes = (_engine.CHORUS_MIX, _engine.DELAY_MIX, _engine.REVERB_MIX)
    dry = [(0, _engine.PARAMETER, 0, mix, 0.0, 0.0) for mix in mixes]
    off_everywhere = [(0, _engine.ALL_SOUND_OFF, channel, 0, 0.0, 0.0) for channel in range(16)]
    end = play_stereo(engine, dry + off_everywhere, rate_hz // 2)
    assert np.all(end[rate_hz // 4:] == 0)


def test_every_voice_falls_silent_by_itself():
    engine = engine_with({60: sine(300, 4_096)})
    audio = play(engine, [on(i, 48 + i) for i in range(20)], 40_000)  # and never a note off
    assert engine.meters()["voices"] == 0
    assert np.all(audio[39_000:] == 0)


def test_unknown_events_are_ignored_and_counted():
    engine = engine_with({60: sine(300)})
    play(engine, [(0, 99, 0, 0, 0.0, 0.0), (0, _engine.PARAMETER, 0, 77, 0.0, 0.0), on(0)], 1_000)
    assert engine.meters() == {"voices": 1, "limit": 32, "stolen": 0, "ignored": 2, "dropped": 0}


def test_a_full_queue_says_so_and_a_block_of_no_frames_empties_it():
    engine = engine_with({60: sine(300)}, parameters={})
    assert sum(engine.send(0, _engine.BLEND, a=0.5) for _ in range(1_100)) == 1_024
    assert engine.meters()["dropped"] == 76
    engine.render(np.empty((0, 2), np.float32))
    assert engine.send(0, _engine.NOTE_ON, key=60, a=1.0)
    engine.render(np.empty((10, 2), np.float32))
    assert engine.meters()["voices"] == 1


def test_an_event_beyond_the_block_waits_for_its_frame():
    engine = engine_with({60: constant([[0.5] * 2] * 2)})
    engine.send(2_500, _engine.NOTE_ON, key=60, a=1.0)
    engine.send(100, _engine.BLEND, a=1.0)
    audio = play(engine, [], 6_000, 1_000)
    assert np.all(audio[:2_500] == 0)
    assert audio[2_520] > 0.01


def test_a_new_bank_fades_the_old_sound_and_is_played_next():
    engine = engine_with({60: sine(200, 64_000)})
    before = play(engine, [on(0)], 12_060)
    engine.set_bank([100], [as_table(60, sine(3_000, 64_000)[None])])
    after = play(engine, [on(4_000)], 30_000)
    assert np.all(after[144:4_000] == 0)
    assert above(np.concatenate([before, after[:4_000]])[6_000:], 6_000) < 20 * np.log10(VOICE_GAIN) - 60
    assert tone_hz(after[6_000:]) == pytest.approx(3_000, rel=1e-4)


# --- binding

def test_tables_are_borrowed_and_given_back():
    cells, levels = bytearray(2 * 2 * 256 * 2), bytearray(2 * 2 * 4)
    engine = Engine()
    engine.set_bank([100], [(60, memoryview(cells).cast("h", (1, 2, 2, 256)), 256, 0,
                             memoryview(levels).cast("f", (1, 2, 2, 1)), np.zeros((1, 4, 4), np.float32))])
    for memory in (cells, levels):
        with pytest.raises(BufferError):
            memory.append(0)
    engine.set_bank([], [])
    cells.append(0)
    levels.append(0)
    engine.send(0, _engine.NOTE_ON, key=60, a=1.0)
    engine.render(np.empty((10, 2), np.float32))
    assert engine.meters()["ignored"] == 1


def silent_table(pitch: int = 60, cells: tuple[int, ...] = (2, 3, 3, 512), loop: tuple[int, int] = (0, 256),
                 levels: tuple[int, ...] = (2, 3, 3, 2), motion: tuple[int, ...] = (2, 4, 4)) -> list[object]:
    return [pitch, np.zeros(cells, np.int16), *loop, np.zeros(levels, np.float32), np.zeros(motion, np.float32)]


def test_a_bank_of_the_described_shape_is_taken():
    engine = Engine()
    engine.set_bank([1, 127], [silent_table(0), silent_table(60, (2, 3, 3, 768), (512, 0), (2, 3, 3, 3))])
    engine.set_bank(np.array([40]), (tuple(silent_table(127, (1, 33, 33, 256), levels=(1, 33, 33, 1),
                                                        motion=(1, 4, 4))),))


@pytest.mark.parametrize(("velocities", "pitches", "different"), [
    ([50, 100], [128], {}), ([50, 100], [-1], {}), ([50, 100], [60, 60], {}), ([50, 100], [61, 60], {}),
    ([], [60], {"cells": (0, 3, 3, 512), "levels": (0, 3, 3, 2), "motion": (0, 4, 4)}),
    ([50], [60], {}), ([50, 50], [60], {}), ([100, 50], [60], {}), ([50, 128], [60], {}), ([-1, 50], [60], {}),
    ([50, 60, 70], [60], {}), ([1, 2, 3, 4, 5], [], {}),
    ([50, 100], [60], {"cells": (2, 1, 1, 512), "levels": (2, 1, 1, 2)}),
    ([50, 100], [60], {"cells": (2, 34, 34, 512), "levels": (2, 34, 34, 2)}),
    ([50, 100], [60], {"cells": (2, 3, 2, 512), "levels": (2, 3, 2, 2)}),
    ([50, 100], [60], {"cells": (3, 3, 512)}), ([50, 100], [60], {"cells": (2, 3, 3, 0), "levels": (2, 3, 3, 0)}),
    ([50, 100], [60], {"cells": (2, 3, 3, 513)}), ([50, 100], [60], {"levels": (2, 3, 3, 1)}),
    ([50, 100], [60], {"levels": (1, 3, 3, 2)}), ([50, 100], [60], {"motion": (2, 4, 3)}),
    ([50, 100], [60], {"motion": (2, 3, 4)}), ([50, 100], [60], {"motion": (4, 4)}),
    ([50, 100], [60], {"loop": (-256, 512)}), ([50, 100], [60], {"loop": (256, -256)}),
    ([50, 100], [60], {"loop": (0, 0)}), ([50, 100], [60], {"loop": (256, 512)}), ([50, 100], [60], {"loop": (768, 0)}),
    ([50, 100], [60], {"loop": (256, 2**31 - 256)}), ([50, 100], [60], {"loop": (0, 200)})])
def test_a_bank_that_is_none_is_refused_and_the_old_one_stays(velocities, pitches, different):
    engine = engine_with({60: sine(300)})
    play(engine, [on(0)], 100)
    with pytest.raises(ValueError, match=r"set_bank wants|the table of pitch"):
        engine.set_bank(velocities, [silent_table(pitch, **different) for pitch in pitches])
    assert engine.meters()["voices"] == 1


def test_tables_of_two_grids_are_refused():
    with pytest.raises(ValueError, match="one grid"):
        Engine().set_bank([50, 100], [silent_table(60), silent_table(61, (2, 2, 2, 512), levels=(2, 2, 2, 2))])


@pytest.mark.parametrize(("place", "spoil"), [
    (1, lambda cells: cells.astype(np.uint16)), (1, lambda cells: cells.astype(np.float32)),
    (1, lambda cells: cells.astype(">i2")), (4, lambda levels: levels.astype(np.float64)),
    (1, lambda cells: np.frombuffer(b"0" + cells.tobytes(), np.int16, cells.size, 1).reshape(cells.shape)),
    (5, lambda motion: motion.astype(np.int32)), (5, lambda motion: motion + np.nan),
    (5, lambda motion: motion - np.inf)])
def test_arrays_of_other_numbers_are_refused(place, spoil):
    table = silent_table()
    table[place] = spoil(table[place])
    with pytest.raises(ValueError, match="set_bank wants"):
        Engine().set_bank([50, 100], [table])


def test_what_is_no_table_or_no_array_or_not_contiguous_is_refused():
    table = silent_table()
    with pytest.raises(TypeError, match="a table is"):
        Engine().set_bank([50, 100], [table[:5]])
    for bad in (60, [60, None], [*table[:2], "0", *table[3:]], [60, [[[[0]]]], *table[2:]]):
        with pytest.raises(TypeError):
            Engine().set_bank([50, 100], [bad])
    with pytest.raises(TypeError):
        Engine().set_bank(["50"], [])
    table[1] = np.zeros((2, 3, 3, 1_024), np.int16)[..., ::2]
    with pytest.raises(ValueError, match="contiguous"):
        Engine().set_bank([50, 100], [table])


@pytest.mark.parametrize("bad", [
    {"sample_rate_hz": 15_999}, {"sample_rate_hz": 192_001}, {"polyphony": 0}, {"polyphony": 257}])
def test_an_engine_of_impossible_numbers_is_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Engine(**bad)


@pytest.mark.parametrize("bad", [
    {"a": float("nan")}, {"b": float("inf")}, {"a": 1e39}, {"channel": 16}, {"channel": -1}, {"key": 128},
    {"kind": 256}, {"kind": -1}, {"frame": -1}, {"frame": 2**31}])
def test_an_event_of_impossible_numbers_is_refused(bad):
    with pytest.raises(ValueError, match=r"must be"):
        Engine().send(**{"frame": 0, "kind": _engine.NOTE_ON, **bad})


def test_only_a_writable_float32_array_of_pairs_is_filled():
    for bad in (np.empty((9, 2)), np.empty((9, 1), np.float32), np.empty(18, np.float32)):
        with pytest.raises(ValueError, match="float32"):
            Engine().render(bad)
    frozen = np.empty((9, 2), np.float32)
    frozen.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        Engine().render(frozen)


def test_events_and_banks_may_be_sent_while_another_thread_renders_and_no_other_may_render():
    engine = engine_with({60: sine(300, 640_000)})
    play(engine, [on(0, 48 + i) for i in range(32)], 100)
    out = np.empty((5_000_000, 2), np.float32)
    thread = threading.Thread(target=engine.render, args=(out,))
    thread.start()
    refused, sent = 0, 0
    while thread.is_alive():
        sent += sum(engine.send(0, _engine.BLEND, a=0.5) for _ in range(20))
        assert engine.meters()["voices"] <= 32
        engine.set_bank([100], [as_table(60, sine(300, 2_560)[None])])
        try:
            engine.render(np.empty((1, 2), np.float32))
        except RuntimeError:
            refused += 1
    thread.join()
    assert refused > 0
    assert sent >= 1_024
    assert np.isfinite(out).all()


# --- the C sources themselves

# For Python, and threads of their own: see test_card.py.
BESIDE = {"binding.c", "alsa_binding.c", "midi_binding.c", "card.c", "keyboard.c"}
SOURCES = sorted(path for path in ENGINE.glob("*.c") if path.name not in BESIDE)
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
STRICT = ["-std=c11", "-O2", "-fPIC", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wno-psabi", "-Werror"]


@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_sources_compile_without_a_warning_and_call_nothing_that_may_wait(compiler, tmp_path):
    subprocess.run([compiler, *STRICT, "-c", *map(str, SOURCES)], cwd=tmp_path, check=True)
    listed = subprocess.run(["nm", "-u", *(path.with_suffix(".o").name for path in SOURCES)], cwd=tmp_path, check=True,
                            capture_output=True, text=True).stdout.split()
    called = {name for name in listed if name not in ("U", "w") and not name.endswith(".o:")}
    ours = {name for name in called if name.split("_")[0].split(".")[0] in
            {path.name.split("_")[0].removesuffix(".c") for path in SOURCES}}
    mathematics = {"sin", "cos", "cosf", "sinf", "sincos", "sincosf", "exp", "expf", "exp2", "exp2f", "log", "log2",
                   "sqrt", "sqrtf", "ceil", "floor", "floorf", "fmin", "fmax", "fminf", "fmaxf", "pow", "powf"}
    memory = {"memcpy", "memmove", "memset"}
    made_and_freed = {"aligned_alloc", "calloc", "free", "mlock"}  # in ..._create() and ..._destroy(): see below
    platform = {"_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail", "__cpu_indicator_init", "__cpu_model", "strcmp"}
    assert called - ours <= mathematics | memory | made_and_freed | platform


@pytest.mark.parametrize("compiler", COMPILERS[:1])
def test_a_storm_of_malformed_events_trips_no_sanitizer(compiler, tmp_path):
    program = tmp_path / "storm"
    storm = Path(__file__).with_name("engine_storm.c")
    subprocess.run([compiler, *STRICT, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{ENGINE}",
                    "-o", program, storm, *map(str, SOURCES), "-lm"], check=True)
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def build_threads(compiler: str, program: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    threads = Path(__file__).with_name("engine_threads.c")
    return subprocess.run([compiler, "-std=c11", "-O2", "-g", "-Wall", "-Wno-psabi", *flags, f"-I{ENGINE}", "-o",
                           program, threads, *map(str, SOURCES), "-lm", "-pthread"], capture_output=True, text=True,
                          check=False)


@pytest.mark.skipif("clang" not in COMPILERS, reason="needs clang")
def test_threads_that_send_and_hand_over_race_with_none_that_renders(tmp_path):
    built = build_threads("clang", tmp_path / "threads", "-fsanitize=thread", "-DBLOCKS=500")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "threads"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("clang" not in COMPILERS, reason="needs clang")
def test_clangs_real_time_sanitizer_finds_nothing(tmp_path):
    built = build_threads("clang", tmp_path / "threads", "-fsanitize=realtime")
    if "argument 'realtime'" in built.stderr:
        pytest.skip("needs clang 20 or later")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "threads"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rendering_calls_nothing_that_allocates_locks_or_writes(tmp_path):
    built = build_threads("gcc", tmp_path / "threads", "-DWATCHED")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "threads"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"engine_render() called {done.stderr}"


def test_the_watch_for_forbidden_calls_sees_them(tmp_path):
    """The same program, in which a power is worked out with memory taken for it."""
    power = tmp_path / "power.h"
    power.write_text("#include <math.h>\n#include <stdlib.h>\nstatic inline float powf_(float x, float y) {\n"
                     "    volatile float *z = malloc(4);\n    *z = powf(x, y);\n    return *z;\n}\n"
                     "#define powf powf_\n")
    built = build_threads("gcc", tmp_path / "threads", "-DWATCHED", "-include", str(power))
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "threads"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "malloc\n")
