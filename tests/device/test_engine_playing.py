"""Modes, pedals, wheels, tuning, filter, LFO and effects, heard through the whole engine."""

import ctypes
import itertools
import time

import numpy as np
import pytest
from native import library
from playing import (
    QUICK,
    VOICE_GAIN,
    Sent,
    above,
    as_table,
    blend,
    constant,
    engine_of,
    engine_with,
    level_of,
    off,
    on,
    play,
    play_stereo,
    sine,
    spectrum_db,
    tone_hz,
)

from device import _engine
from device._engine import Engine

A4 = 440.0


def hz(key: float) -> float:
    return A4 * 2 ** ((key - 69) / 12)


def sines(*keys: int, samples: int = 128_000) -> dict[int, np.ndarray]:
    return {key: sine(hz(key), samples) for key in keys}


def plays(keys: dict[int, np.ndarray] | None = None, polyphony: int = 32, **parameters: float) -> Engine:
    values = QUICK | {getattr(_engine, name): value for name, value in parameters.items()}
    return engine_with(keys or sines(69), polyphony=polyphony, parameters=values)


def turn(frame: int, parameter: int, value: float) -> Sent:
    return frame, _engine.PARAMETER, 0, parameter, value, 0.0


def sounding(audio: np.ndarray, *keys: int) -> set[int]:
    """Of sines at these keys, those that are heard above -50 dB."""
    return {key for key in keys if level_of(audio, hz(key)) > -50}


# --- mono and legato

@pytest.mark.parametrize(("priority", "heard"), [("LAST", [60, 67, 55, 55, 60]), ("LOW", [60, 60, 55, 55, 60]),
                                                 ("HIGH", [60, 67, 67, 67, 60])])
@pytest.mark.parametrize("mode", ["MONO", "LEGATO"])
def test_one_key_of_those_held_sounds_by_its_priority(mode, priority, heard):
    engine = plays(sines(55, 60, 67), MODE=getattr(_engine, mode), PRIORITY=getattr(_engine, priority))
    steps: list[list[Sent]] = [[on(0, 60)], [on(0, 67)], [on(0, 55)], [off(0, 67)] if priority != "HIGH" else [],
                               [off(0, 55), off(0, 67)]]
    for events, key in zip(steps, heard, strict=True):
        audio = play(engine, events, 12_000)[4_000:]
        assert sounding(audio, 55, 60, 67) == {key}
        assert engine.meters()["voices"] == 1
    play(engine, [off(0, 60)], 12_000)
    assert engine.meters()["voices"] == 0


def test_mono_strikes_again_and_legato_goes_on():
    for mode, struck in ((_engine.MONO, True), (_engine.LEGATO, False)):
        engine = plays(sines(60, 62), MODE=mode, ATTACK_MS=100.0)
        audio = play(engine, [on(0, 60), on(24_000, 62)], 48_000)
        after = np.abs(audio[24_000 + 480 : 24_000 + 960]).max()  # 10 to 20 ms after the second key
        assert (after < 0.5 * np.abs(audio[20_000:24_000]).max()) == struck


@pytest.mark.parametrize("keys", [(60, 65), (60, 72)])  # from the same table, and from another
def test_legato_leaves_no_click(keys):
    engine = plays(sines(48, 72), MODE=_engine.LEGATO)
    audio = play(engine, [on(0, keys[0]), on(20_000, keys[1]), off(40_000, keys[1])], 60_000)
    assert above(audio, 8_000) < -75
    assert sounding(audio[22_000:40_000], *keys) == {keys[1]}
    assert sounding(audio[42_000:], *keys) == {keys[0]}


def test_more_keys_than_there_are_on_16_channels_may_be_held_in_mono():
    engine = plays(MODE=_engine.MONO)
    play(engine, [on(0, key, channel=channel) for channel in range(4) for key in range(128)], 1_000, 1_000)
    play(engine, [off(0, key, channel) for channel in range(4) for key in range(128)], 48_000)
    assert engine.meters()["voices"] == 0


# --- pitch

def test_a_glide_takes_its_time_from_key_to_key_and_ends_in_tune():
    engine = plays(GLIDE_MS=500.0, ATTACK_MS=5.0)
    audio = play(engine, [on(0, 57), off(24_000, 57), on(24_000, 69)], 96_000)
    middle = audio[24_000 + 12_000 - 600 : 24_000 + 12_000 + 600]
    assert 1_200 * np.log2(tone_hz(middle) / hz(63)) == pytest.approx(0, abs=60)
    assert 1_200 * np.log2(tone_hz(audio[52_000:]) / hz(69)) == pytest.approx(0, abs=0.5)
    assert above(audio, 8_000) < -75


def test_a_key_is_tuned_and_all_are_transposed():
    engine = plays()
    events = [(0, _engine.TUNE_KEY, 0, 69, 0.25, 0.0), turn(0, _engine.TRANSPOSE_SEMITONES, -12.0),
              turn(0, _engine.TUNE_CENTS, 10.0), on(0, 69)]
    assert 1_200 * np.log2(tone_hz(play(engine, events, 48_000)) / hz(57.35)) == pytest.approx(0, abs=0.5)


def test_all_that_moves_the_pitch_together_ends_in_no_endless_work():
    engine = plays(TRANSPOSE_SEMITONES=48.0, LFO_PITCH_CENTS=2_400.0, LFO_SHAPE=_engine.LFO_SQUARE)
    events = [(0, _engine.TUNE_KEY, 0, 127, 128.0, 0.0), (0, _engine.BEND, 0, 0, 96.0, 0.0), on(0, 127)]
    assert np.isfinite(play(engine, events, 24_000)).all()


def test_unison_spreads_detuned_voices_at_the_power_of_one():
    engine = plays(UNISON=4, DETUNE_CENTS=40.0, SPREAD=1.0)
    stereo = play_stereo(engine, [on(0, 69)], 192_000)[20_000:]
    assert engine.meters()["voices"] == 4
    frequencies, levels = spectrum_db(stereo.sum(axis=1))
    for cents in (-20, -20 / 3, 20 / 3, 20):
        near = np.abs(1_200 * np.log2(np.maximum(frequencies, 1) / hz(69)) - cents) < 2
        assert levels[near].max() > -40
    left = level_of(stereo[:, 0], hz(69) * 2 ** (-20 / 1_200))
    assert left > level_of(stereo[:, 1], hz(69) * 2 ** (-20 / 1_200)) + 40  # the lowest stands on the left alone
    alone = np.mean(play(plays(), [on(0, 69)], 192_000)[20_000:] ** 2)
    assert 10 * np.log10(np.mean(stereo**2) / alone) == pytest.approx(0, abs=0.5)


def test_unison_never_passes_the_limit():
    engine = plays(polyphony=6, UNISON=4)
    for key in range(60, 80):
        play(engine, [on(0, key)], 500)
        assert engine.meters()["voices"] <= 6
    assert engine.meters()["voices"] == 6


# --- pedals and wheels

def pedal(frame: int, kind: int, down: bool, channel: int = 0) -> Sent:
    return frame, kind, channel, 0, float(down), 0.0


def test_sostenuto_holds_what_is_held_when_it_goes_down():
    engine = plays(sines(60, 64))
    events = [on(0, 60), pedal(2_000, _engine.SOSTENUTO, True), on(3_000, 64), off(4_000, 60), off(4_000, 64)]
    assert sounding(play(engine, events, 24_000)[12_000:], 60, 64) == {60}
    play(engine, [pedal(0, _engine.SOSTENUTO, False)], 24_000)
    assert engine.meters()["voices"] == 0


def test_sostenuto_and_sustain_together_hold_until_both_are_up():
    engine = plays(sines(60, 64))
    play(engine, [on(0, 60), pedal(10, _engine.SOSTENUTO, True), pedal(20, _engine.SUSTAIN, True), off(30, 60)], 5_000)
    for kind in (_engine.SOSTENUTO, _engine.SUSTAIN):
        assert engine.meters()["voices"] == 1
        play(engine, [pedal(0, kind, False)], 24_000)
    assert engine.meters()["voices"] == 0


@pytest.mark.parametrize(("kind", "value", "level_db"), [(_engine.SOFT, 1.0, -3.1), (_engine.EXPRESSION, 0.5, -12.04)])
def test_soft_pedal_and_expression_lower_their_channel_without_a_click(kind, value, level_db):
    engine = plays()
    audio = play(engine, [on(0, 69, 0.5), on(0, 57, 0.5, channel=1), (24_000, kind, 0, 0, value, 0.0)], 96_000)
    before, after = audio[4_000:24_000], audio[30_000:]
    assert level_of(after, hz(69)) - level_of(before, hz(69)) == pytest.approx(level_db, abs=0.1)
    assert level_of(after, hz(57)) == pytest.approx(level_of(before, hz(57)), abs=0.1)
    assert above(audio, 8_000) < -75


@pytest.mark.parametrize("kind", [_engine.PRESSURE, _engine.KEY_PRESSURE])
def test_aftertouch_brings_in_the_vibrato_that_waits_for_the_wheel(kind):
    engine = plays(LFO_WHEEL=1.0, LFO_PITCH_CENTS=100.0, LFO_RATE_HZ=5.0)
    still = play(engine, [on(0, 69)], 96_000)[48_000:]
    moving = play(engine, [(0, kind, 0, 69, 1.0, 0.0)], 96_000)[48_000:]
    assert level_of(still, hz(69)) > -10
    assert level_of(moving, hz(69)) < level_of(still, hz(69)) - 6  # its power has gone into side-bands


def test_the_velocity_curve_is_the_power_of_velocity():
    for curve in (0.0, 1.0, 2.0, 4.0):
        engine = engine_with({60: constant([[0.5] * 2] * 2)}, parameters=QUICK | {_engine.VELOCITY_CURVE: curve})
        audio = play(engine, [on(0, 60, 0.5)], 8_000)[4_000:]
        assert np.median(audio) == pytest.approx(0.5 * VOICE_GAIN * 0.5**curve, rel=1e-3)


def test_a_start_inside_the_recording_is_later_in_it_and_clicks_not():
    cells = np.zeros((2, 2, 32_000), np.int16)
    cells[..., 8_000:] = sine(1_000, 24_000)
    engine = engine_with({60: cells}, parameters=QUICK | {_engine.START_MS: 600.0})
    audio = play(engine, [on(0, 60)], 24_000)
    assert level_of(audio[1_000:20_000], 1_000) > -10
    assert above(audio, 8_000) < -75


# --- filter

@pytest.mark.parametrize(("mode", "low_db", "high_db"), [("LOW", 0, -24), ("HIGH", -24, 0), ("BAND", -9.05, -9.05)])
def test_the_filter_takes_what_lies_two_octaves_beyond(mode, low_db, high_db):
    """At resonance log(2 Q) / log(40) of a Butterworth filter: 24 dB in two octaves; a band-pass, by
    its formula 1 / sqrt(1 + Q^2 (f / f0 - f0 / f)^2), 9.05."""
    resonance = float(np.log(2 / np.sqrt(2)) / np.log(40))
    wave = (sine(500, 64_000, 0.4).astype(int) + sine(2_000, 64_000, 0.4)).astype(np.int16)
    for cutoff_hz, tone, wanted in ((2_000.0, 500, low_db), (500.0, 2_000, high_db)):
        dry, wet = (play(engine_with({60: wave}, parameters=QUICK | {
            _engine.FILTER_MODE: filter_mode, _engine.CUTOFF_HZ: cutoff_hz, _engine.RESONANCE: resonance}),
            [on(0, 60)], 48_000)[8_000:] for filter_mode in (0, getattr(_engine, f"FILTER_{mode}")))
        assert level_of(wet, tone) - level_of(dry, tone) == pytest.approx(wanted, abs=0.6)


def test_key_velocity_envelope_and_timbre_move_the_cutoff():
    """Each by two octaves: a low-pass at 500 Hz lets 2 kHz through as one at 2 kHz does."""
    def level(events: list[Sent], **parameters: float) -> float:
        engine = plays({60: sine(2_000, 128_000)}, FILTER_MODE=_engine.FILTER_LOW, RESONANCE=0.1, **parameters)
        return level_of(play(engine, [*events, on(0, 60)], 48_000)[24_000:], 2_000)

    open_db = level([], CUTOFF_HZ=2_000.0)
    assert level([], CUTOFF_HZ=500.0) < open_db - 12
    for events, parameters in (
            ([], {"FILTER_VELOCITY_SEMITONES": 24.0}),
            ([], {"FILTER_ENVELOPE_SEMITONES": 24.0, "FILTER_SUSTAIN_LEVEL": 1.0}),
            ([(0, _engine.TIMBRE, 0, 0, 1.0, 0.0)], {"FILTER_TIMBRE_SEMITONES": 24.0})):
        assert level(events, CUTOFF_HZ=500.0, **parameters) == pytest.approx(open_db, abs=0.1)
    engine = plays({60: sine(500, 128_000)}, FILTER_MODE=_engine.FILTER_LOW, RESONANCE=0.1, CUTOFF_HZ=500.0,
                   FILTER_KEY=1.0)
    low, high = (level_of(play(engine, [on(0, key), off(40_000, key)], 96_000)[8_000:40_000], hz_) for key, hz_ in
                 ((60, 500), (72, 1_000)))
    assert high == pytest.approx(low, abs=0.1)


def test_a_filter_swept_by_hand_leaves_no_click():
    engine = plays({60: sine(300, 128_000)}, FILTER_MODE=_engine.FILTER_LOW, RESONANCE=0.5)
    cutoffs_hz = [20_000.0 * 0.5 ** (i / 16) for i in range(100)]
    events = [on(0, 60, 0.4), *(turn(10_000 + 64 * i, _engine.CUTOFF_HZ, hz) for i, hz in enumerate(cutoffs_hz))]
    assert above(play(engine, events, 48_000), 8_000) < -75


# --- LFO

def test_the_lfo_moves_level_blend_and_pitch_at_its_rate():
    engine = engine_with({60: constant([[0.5, 0.5], [0.5, 0.5]], 128_000)}, parameters=QUICK | {
        _engine.LFO_RATE_HZ: 4.0, _engine.LFO_LEVEL_DB: 12.0})
    audio = play(engine, [on(0, 60)], 144_000)[48_000:]
    assert 20 * np.log10(audio.max() / audio.min()) == pytest.approx(12, abs=0.1)
    frequencies, levels = spectrum_db(audio - audio.mean())
    assert frequencies[np.argmax(levels)] == pytest.approx(4, abs=0.5)

    engine = engine_with({60: constant([[0.0, 0.5], [0.0, 0.5]], 128_000)}, parameters=QUICK | {
        _engine.LFO_RATE_HZ: 4.0, _engine.LFO_BLEND_X: 0.25})
    audio = play(engine, [blend(0, 0.5, 0.5), on(0, 60)], 144_000)[48_000:] / (0.5 * VOICE_GAIN)
    assert (audio.min(), audio.max()) == pytest.approx((0.25, 0.75), abs=0.01)


def test_the_lfo_follows_the_tempo():
    engine = engine_with({60: constant([[0.5, 0.5], [0.5, 0.5]], 256_000)}, parameters=QUICK | {
        _engine.LFO_BEATS: 0.5, _engine.TEMPO_BPM: 90.0, _engine.LFO_LEVEL_DB: 12.0})
    audio = play(engine, [on(0, 60)], 240_000)[48_000:]
    frequencies, levels = spectrum_db(audio - audio.mean())
    assert frequencies[np.argmax(levels)] == pytest.approx(3, abs=0.3)


def test_a_retriggered_lfo_is_each_notes_own_and_a_free_one_all_notes():
    for retrigger in (0.0, 1.0):
        engine = engine_with({60: constant([[0.2, 0.2], [0.2, 0.2]], 256_000)}, parameters=QUICK | {
            _engine.LFO_RATE_HZ: 1.0, _engine.LFO_LEVEL_DB: 20.0, _engine.LFO_RETRIGGER: retrigger})
        audio = play(engine, [on(0, 60), on(24_000, 72)], 96_000)[48_000:]  # half a cycle later
        swing_db = 20 * np.log10(audio.max() / audio.min())
        assert (swing_db > 15) == (retrigger == 0.0)


def test_kept_blend_is_the_one_at_birth():
    engine = engine_with({60: constant([[0.0, 0.5], [0.0, 0.5]], 64_000)}, parameters=QUICK | {_engine.KEEP_BLEND: 1.0})
    audio = play(engine, [blend(0, 0.25, 0.5), on(0, 60), blend(10_000, 1.0, 0.5)], 24_000)
    assert audio[20_000] == pytest.approx(0.25 * 0.5 * VOICE_GAIN, rel=1e-2)


def test_a_gesture_is_recorded_and_goes_round_until_a_knob_is_touched():
    def gesture(frame: int, state: int) -> Sent:
        return frame, _engine.GESTURE, 0, 0, float(state), 0.0

    engine = engine_with({60: constant([[0.0, 0.5], [0.0, 0.5]], 256_000)}, parameters=QUICK)
    moves = [blend(20_000 + 100 * i, i / 100, 0.5) for i in range(1, 101)]
    audio = play(engine, [blend(0, 0.0, 0.5), on(0, 60), gesture(20_000, 1), *moves, gesture(39_200, 2)], 110_000)
    at = audio / (0.5 * VOICE_GAIN)
    assert np.abs(at[40_200:58_000] - at[21_000:38_800]).max() < 0.02
    np.testing.assert_allclose(at[70_000:109_000], at[50_800:89_800], atol=1e-3)  # 19,200 frames a round
    touched = play(engine, [blend(0, 0.25, 0.5)], 40_000) / (0.5 * VOICE_GAIN)
    np.testing.assert_allclose(touched[4_000:], 0.25, atol=1e-3)
    assert np.abs(play(engine, [gesture(0, 2)], 20_000) / (0.5 * VOICE_GAIN) - 0.25).max() > 0.5  # and again


# --- room

def test_voices_are_spread_by_key_at_equal_power():
    engine = plays(sines(60, 61), SPREAD=1.0)
    stereo = play_stereo(engine, [on(0, 60), on(0, 61)], 48_000)[8_000:]
    for key, side in ((60, 0), (61, 1)):
        assert level_of(stereo[:, side], hz(key)) > level_of(stereo[:, 1 - side], hz(key)) + 60
    assert np.mean(stereo[:, 0] ** 2) == pytest.approx(np.mean(stereo[:, 1] ** 2), rel=0.02)


@pytest.mark.parametrize(("effect", "others"), [("CHORUS", {}), ("DELAY", {"DELAY_MS": 200.0}), ("REVERB", {})])
def test_an_effect_is_off_at_first_and_heard_when_turned_on(effect, others):
    events = [on(0, 69), off(12_000, 69)]
    dry = play_stereo(plays(), events, 96_000)
    off_again = play_stereo(plays(**{f"{effect}_MIX": 0.0}), events, 96_000)
    wet = play_stereo(plays(**{f"{effect}_MIX": 0.5}, **others), events, 96_000)
    assert np.array_equal(dry, off_again)
    assert np.sqrt(np.mean((wet - dry) ** 2)) > 0.05 * np.sqrt(np.mean(dry**2))
    if effect != "CHORUS":
        assert np.abs(wet[20_000:30_000]).max() > 0.01 > np.abs(dry[20_000:30_000]).max()
    assert np.abs(wet).max() <= 1


def test_a_limit_of_voices_is_kept_and_lifted():
    engine = plays(polyphony=16)
    play(engine, [on(0, key, 0.2) for key in range(60, 76)], 5_000)
    engine.limit_voices(4)
    audio = play(engine, [], 5_000)
    assert engine.meters()["voices"] == engine.meters()["limit"] == 4
    assert above(audio, 12_000) < -60
    engine.limit_voices(200)
    play(engine, [on(0, key, 0.2) for key in range(40, 56)], 5_000)
    assert engine.meters()["voices"] == engine.meters()["limit"] == 16
    for bad in (0, 257):
        with pytest.raises(ValueError, match="voices"):
            engine.limit_voices(bad)


def test_a_bank_swapped_under_held_notes_fades_and_gives_its_arrays_back():
    engine = engine_of([as_table(60, sine(300)[None])])
    play(engine, [on(0, 60)], 5_000)
    engine.set_bank([100], [as_table(60, sine(500)[None])])
    engine.set_bank([100], [as_table(60, sine(700)[None])])  # before the one before was played
    audio = play(engine, [on(2_000, 60)], 24_000)
    assert np.abs(audio[200:2_000]).max() == 0
    assert level_of(audio[4_000:], 700) > -20
    assert level_of(audio[4_000:], 500) < -90


def test_a_cell_swapped_under_a_held_note_is_crossed_over_to_without_a_click():
    engine = engine_of([as_table(60, sine(300, 64_000)[None])])
    before = play(engine, [blend(0, 0.25, 0.5), on(0, 60)], 24_000)
    memory = bytearray(sine(300, 64_000, 0.45)[0, 0].tobytes())
    levels = np.full(250, 0.45 / np.sqrt(2), np.float32)
    for row in (0, 1):
        assert engine.swap_cell(60, 0, row, 0, memoryview(memory).cast("h"), levels)
    after = play(engine, [], 48_000)
    # three quarters of it are of the left column, which is half as loud now
    assert level_of(after[4_000:], 300) - level_of(before[4_000:], 300) == pytest.approx(20 * np.log10(0.625), abs=0.05)
    assert above(np.concatenate([before, after]), 8_000) < -75
    with pytest.raises(BufferError):
        memory.append(0)  # it is held
    for row in (0, 1):
        engine.swap_cell(60, 0, row, 0, np.zeros(64_000, np.int16), levels)
    play(engine, [], 3_000)
    memory.append(0)


def test_a_cell_that_is_not_there_or_of_another_length_is_refused():
    levels = np.zeros(125, np.float32)
    with pytest.raises(ValueError, match="no bank"):
        Engine().swap_cell(60, 0, 0, 0, np.zeros(32_000, np.int16), levels)
    engine = engine_with({60: sine(300)})
    for place in ((61, 0, 0, 0), (60, 1, 0, 0), (60, 0, 2, 0), (60, 0, 0, -1)):
        with pytest.raises(ValueError, match="a cell that the bank has"):
            engine.swap_cell(*place, np.zeros(32_000, np.int16), levels)
    with pytest.raises(ValueError, match="as long as its table"):
        engine.swap_cell(60, 0, 0, 0, np.zeros(31_744, np.int16), levels[:124])
    swapped = [engine.swap_cell(60, 0, 0, 0, np.zeros(32_000, np.int16), levels) for _ in range(300)]
    assert swapped.count(False) == 44
    play(engine, [], 100_000, 1_000)
    assert engine.swap_cell(60, 0, 0, 0, np.zeros(32_000, np.int16), levels)


@pytest.mark.parametrize("name", sorted(_engine.PARAMETERS))
def test_every_parameter_takes_its_ends_and_stays_within_them(name):
    _, least, most = _engine.PARAMETERS[name]
    for value in (least, most, -1e30, 1e30):
        engine = plays()
        audio = play_stereo(engine, [turn(0, getattr(_engine, name), value), on(0, 69, 0.8), off(3_000, 69)], 6_000)
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() <= 1
        assert engine.meters()["ignored"] == 0


# --- what must not be left over

def pressed(kind: int, value: float) -> Sent:
    return 0, kind, 0, 0, value, 0.0


def test_a_sostenuto_pedal_of_many_steps_is_one_that_goes_down_once():
    engine = plays(sines(60, 64))
    play(engine, [on(0, 60), pressed(_engine.SOSTENUTO, 0.55)], 500)
    play(engine, [off(0, 60), on(0, 64), pressed(_engine.SOSTENUTO, 1.0)], 500)
    play(engine, [off(0, 64)], 12_000)
    assert engine.meters()["voices"] == 1  # 60, and not 64, which came later
    play(engine, [pressed(_engine.SOSTENUTO, 0.0)], 12_000)
    assert engine.meters()["voices"] == 0


def test_a_key_let_go_in_another_mode_is_forgotten():
    engine = plays(sines(60, 64), MODE=_engine.MONO)
    poly, mono = turn(10, _engine.MODE, _engine.POLY), turn(30, _engine.MODE, _engine.MONO)
    play(engine, [on(0, 60), poly, off(20, 60), mono], 9_000)
    play(engine, [on(0, 64), off(4_000, 64)], 24_000)
    assert engine.meters()["voices"] == 0


@pytest.mark.parametrize("kind", [_engine.ALL_NOTES_OFF, _engine.ALL_SOUND_OFF])
def test_silence_on_a_channel_leaves_the_keys_of_others(kind):
    engine = plays(sines(60, 64), MODE=_engine.MONO)
    audio = play(engine, [on(0, 60), on(100, 64), (200, kind, 5, 0, 0.0, 0.0), off(300, 64)], 24_000)[12_000:]
    assert sounding(audio, 60, 64) == {60}


def test_a_note_of_several_voices_steals_none_of_its_own():
    engine = plays(sines(36, 60, 84), polyphony=8, UNISON=4.0, SPREAD=1.0, DETUNE_CENTS=0.0)
    stereo = play_stereo(engine, [on(0, 36), on(0, 60), on(4_000, 84, 0.3)], 48_000)[12_000:]
    left, right = (level_of(stereo[:, side], hz(84)) for side in (0, 1))
    assert left == pytest.approx(right, abs=0.1)


def test_a_voice_whose_table_ends_goes_on_while_its_filter_rings():
    short = sine(hz(60), 4_096)
    engine = plays({60: short}, FILTER_MODE=_engine.FILTER_LOW, CUTOFF_HZ=hz(60), RESONANCE=1.0)
    audio = play(engine, [on(0, 60, 0.3)], 96_000)
    assert np.abs(np.diff(audio)).max() < 2 * np.pi * hz(60) / 48_000 * np.abs(audio).max() * 1.1
    assert engine.meters()["voices"] == 0


def test_what_rang_in_the_filter_is_gone_when_it_is_on_again():
    engine = plays({60: sine(hz(60), 204_800)}, FILTER_MODE=_engine.FILTER_LOW, CUTOFF_HZ=hz(60), RESONANCE=1.0)
    play(engine, [on(0, 60, 0.1)], 48_000)
    dry = play(engine, [turn(0, _engine.FILTER_MODE, 0)], 48_000)[24_000:]
    open_again = {_engine.CUTOFF_HZ: 20_000, _engine.RESONANCE: 0, _engine.FILTER_MODE: 1}
    wet = play(engine, [turn(0, *setting) for setting in open_again.items()], 4_800)
    assert np.abs(wet).max() < 1.1 * np.abs(dry).max()


def test_a_note_that_glides_down_is_as_bright_as_one_that_does_not():
    table = sine(hz(84)) + sine(6 * hz(84), peak=0.05)

    def upper_db(*before: Sent, glide_ms: float) -> float:
        engine = plays({84: table}, GLIDE_MS=glide_ms)
        play(engine, [*before, (100, _engine.ALL_SOUND_OFF, 0, 0, 0.0, 0.0)], 1_000)
        return level_of(play(engine, [on(0, 84)], 48_000)[24_000:], 6 * hz(84))

    assert upper_db(on(0, 120), glide_ms=50.0) == pytest.approx(upper_db(glide_ms=0.0), abs=0.5)


def test_a_glide_that_is_interrupted_goes_on_from_where_it_stands():
    engine = plays(sines(60), MODE=_engine.LEGATO, GLIDE_MS=2_000.0)
    audio = play(engine, [on(0, 60), on(0, 72), on(24_000, 48)], 30_000)
    before, after = tone_hz(audio[20_000:23_500]), tone_hz(audio[24_500:28_000])
    assert abs(12 * np.log2(after / before)) < 2.5


class Path(ctypes.Structure):
    _fields_ = (("across", ctypes.c_float * 64), ("down", ctypes.c_float * 64), ("rests", ctypes.c_bool))


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_float), ("y", ctypes.c_float))


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.7, 4.0])
def test_knobs_come_to_rest_from_anywhere_to_anywhere(ratio):
    knobs, state, path = library("knobs.c"), (ctypes.c_float * 16)(), Path()
    knobs.knobs_start.argtypes = [ctypes.c_void_p, Point, ctypes.c_double]
    knobs.knobs_follow.argtypes = [ctypes.c_void_p, Point, ctypes.c_int, ctypes.POINTER(Path)]
    for start, end in itertools.product(range(0, 128, 9), range(0, 128, 7)):
        knobs.knobs_start(state, Point(start / 127, 0.5), ratio)
        for _ in range(400):
            knobs.knobs_follow(state, Point(end / 127, 0.25), 9, path)
        assert path.rests
        assert path.across[0] == np.float32(end / 127) * 8


def seconds_of_a_voice_a_section(released: bool) -> float:
    """Least time of 0.2 s, one voice in each section, long after seven others were cut, in their release or not."""
    engine = plays({60: sine(hz(60), 204_800)}, polyphony=64, RELEASE_MS=200.0)
    play(engine, [on(0, i, channel=int(i % 8 == 0)) for i in range(64)], 4_800)
    play(engine, [(0, _engine.ALL_NOTES_OFF, 0, 0, 0.0, 0.0)] if released else [], 4_800)
    play(engine, [(0, _engine.ALL_SOUND_OFF, 0, 0, 0.0, 0.0)], 144_000)
    assert engine.meters()["voices"] == 8
    out, spent = np.empty((9_600, 2), np.float32), []
    for _ in range(9):
        start = time.thread_time()
        engine.render(out)
        spent.append(time.thread_time() - start)
    return min(spent)


def test_what_was_cut_in_its_release_leaves_no_denormals_behind():
    assert seconds_of_a_voice_a_section(released=True) < 2 * seconds_of_a_voice_a_section(released=False)
