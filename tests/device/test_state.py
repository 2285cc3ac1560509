"""What the box remembers: that it comes back, that nothing in the file stops the box, and that a kill costs nothing."""

import itertools
import json
import logging
import os
import random
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_midi_map import maps

from device.box import state as module
from device.box.midi_map import MidiMap, default_target
from device.box.state import DAMAGED, FILE, CornerChoice, Keeper, State, load, parse, save
from device.errors import TetradError
from device.synth_settings import RANGES

SOME = State("strings", 0.25, 0.75, 0.8, {"attack_ms": 20.0}, {"cutoff_hz": 400.0, "mode": 1.0},
             (None, CornerChoice("bells", 3), None, CornerChoice("first", 0)),
             MidiMap({21: default_target("cutoff_hz")}))

names = st.text(st.characters(codec="utf-8"), max_size=60).filter(str.isprintable)
shares = st.floats(0, 1)
parameters = st.dictionaries(st.sampled_from(sorted(RANGES)), shares, max_size=20).map(
    lambda found: {name: RANGES[name][1] + share * (RANGES[name][2] - RANGES[name][1])
                   for name, share in found.items()})
states = st.builds(State, names, shares, shares, st.floats(0, 2), parameters, parameters,
                   st.tuples(*[st.none() | st.builds(CornerChoice, names, st.integers(0, 3))] * 4), maps)
any_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner))
same_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


# --- the file

@same_folder
@given(states)
def test_any_state_comes_back(tmp_path, state):
    save(tmp_path, state.to_bytes())
    assert load(tmp_path) == state
    assert parse(state.to_bytes()) == state
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE]


def test_where_nothing_was_saved_all_is_as_at_first(tmp_path, warnings):
    assert load(tmp_path) == State() == load(tmp_path / "nowhere")
    assert warnings() == []


@same_folder
@given(st.one_of(st.binary(max_size=200), any_json.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_in_the_file_are_no_error(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    assert load(tmp_path) == State()
    assert (tmp_path / DAMAGED).read_bytes() == content
    assert not (tmp_path / FILE).exists()


@same_folder
@given(st.data(), any_json)
def test_any_value_anywhere_in_the_file_is_no_error(tmp_path, data, value):
    """A state in which one value was replaced is either refused or one that can be saved again."""
    found = json.loads(SOME.to_bytes())
    place = found
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    (tmp_path / FILE).write_text(json.dumps(found))
    state = load(tmp_path)
    assert state == State() or parse(state.to_bytes()) == state


def test_every_flipped_bit_is_no_error(tmp_path):
    whole = SOME.to_bytes()
    for at in range(len(whole)):
        cut = whole[:at]
        (tmp_path / FILE).write_bytes(cut)
        assert load(tmp_path) == (SOME if at == len(whole) - 1 else State())  # but for the last line's end
        (tmp_path / FILE).write_bytes(cut + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1:])
        load(tmp_path).to_bytes()


def test_what_is_damaged_is_kept_aside_and_told_in_a_line(tmp_path, warnings):
    (tmp_path / FILE).write_bytes(b"{")
    assert load(tmp_path) == State()
    (line,) = warnings()
    assert f"{tmp_path}/state.json: state.json is not JSON; it is kept as state.json.damaged" in line
    assert "\n" not in line
    assert load(tmp_path) == State()
    assert len(warnings()) == 1


@pytest.mark.parametrize(("change", "why"), [
    ({"version": 2}, "its version is not 1"), ({"format": "x"}, "it is no state of the"), ({"x": 1.5}, "`x` is not"),
    ({"volume": None}, "`volume` is not a number from 0 to 2"), ({"pots": {"cutof": 1}}, "there is no setting 'cutof'"),
    ({"changes": {"mode": 3}}, "`changes`: mode is not"), ({"corners": [None] * 3}, "`corners` is not a list of 4"),
    ({"corners": [{"preset": "a", "corner": 4}, None, None, None]}, "a corner in `corners` is not"),
    ({"preset": "a\nb"}, "`preset` is not a line"), ({"controllers": {"0": {}}}, "`controllers`: controller 0 lacks"),
    ({"more": 1}, "keys that are unknown")])
def test_another_version_and_values_out_of_range_are_refused(tmp_path, warnings, change, why):
    (tmp_path / FILE).write_text(json.dumps(json.loads(SOME.to_bytes()) | change))
    assert load(tmp_path) == State()
    assert why in warnings()[0]
    assert (tmp_path / DAMAGED).exists()


@pytest.mark.parametrize("name", json.loads(SOME.to_bytes()))
def test_a_state_that_lacks_something_is_refused(name):
    with pytest.raises(TetradError):
        parse(json.dumps({key: value for key, value in json.loads(SOME.to_bytes()).items() if key != name}).encode())


def test_what_stands_in_the_files_place_does_not_stop_the_box(tmp_path, warnings):
    (tmp_path / FILE).mkdir()
    assert load(tmp_path) == State()
    assert (tmp_path / DAMAGED).is_dir()
    (tmp_path / FILE).write_bytes(bytes(1 << 20))
    assert load(tmp_path) == State()  # a file cannot take a folder's place
    assert "is longer than" in warnings()[1]
    assert "cannot be kept as state.json.damaged" in warnings()[1]


def test_what_a_killed_save_left_behind_is_removed(tmp_path):
    (tmp_path / f".{FILE}.abc.tmp").write_bytes(b"half")
    (tmp_path / ".other.tmp").write_bytes(b"")
    load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".other.tmp"]


@pytest.mark.parametrize("wrong", [{"x": float("nan")}, {"volume": 3}, {"changes": {"mode": 5}}, {"preset": "a\n"},
                                   {"corners": (None,) * 3}, {"y": np.float32(0.5)}, {"pots": {b"mode": 1}}])
def test_a_state_that_could_not_be_read_again_is_not_written(tmp_path, wrong):
    save(tmp_path, SOME.to_bytes())
    with pytest.raises(TetradError):
        save(tmp_path, replace(SOME, **wrong).to_bytes())
    assert load(tmp_path) == SOME


# --- the keeper

@pytest.fixture
def saved(monkeypatch):
    """What was saved, as numbers of threads and bytes; `gate` holds saves up."""
    found, gate, real = [], threading.Event(), module.save
    gate.set()

    def slow(folder, data):
        found.append((threading.get_ident(), data))
        gate.wait(10)
        real(folder, data)

    monkeypatch.setattr(module, "save", slow)
    found_and_gate = (found, gate)
    yield found_and_gate
    gate.set()


def settle(keeper):
    if keeper._saving:
        keeper._saving.exception(10)


def test_what_does_not_change_is_never_written(tmp_path, saved):
    keeper = Keeper(tmp_path, State())
    for now_s in range(100):
        keeper.tick(now_s)
    keeper.close()
    assert saved[0] == []
    assert list(tmp_path.iterdir()) == []


def test_what_changes_all_the_time_is_written_every_two_seconds_by_another_thread(tmp_path, saved):
    state = State()
    keeper = Keeper(tmp_path, state)
    for step in range(2_001):
        state.x = step / 2_001
        keeper.tick(50 + step / 200)
        settle(keeper)
    assert len(saved[0]) == 6  # at 0, 2 .. 10 s
    assert threading.get_ident() not in {thread for thread, _ in saved[0]}
    assert load(tmp_path) == state
    for step in range(2_000):
        keeper.tick(60.1 + step / 200)
        settle(keeper)
    assert len(saved[0]) == 6


def test_a_slow_card_holds_nothing_up_and_gets_the_latest_state(tmp_path, saved):
    found, gate = saved
    gate.clear()
    state = State()
    keeper = Keeper(tmp_path, state)
    state.x = 0.1
    keeper.tick(0)
    for step in range(1, 9):
        state.x = step / 10
        began_s = time.perf_counter()
        keeper.tick(3.0 * step)
        assert time.perf_counter() - began_s < 0.5
    gate.set()
    settle(keeper)
    keeper.tick(30)
    settle(keeper)
    assert [parse(data).x for _, data in found] == [0.1, 0.8]
    keeper.close()


def test_closing_saves_what_is_not_saved_yet(tmp_path, saved):
    state = State()
    keeper = Keeper(tmp_path, state)
    saved[1].clear()
    state.preset = "first"
    keeper.tick(0)
    state.preset = "second"
    threading.Timer(0.2, saved[1].set).start()
    keeper.close()
    assert load(tmp_path).preset == "second"
    assert [parse(data).preset for _, data in saved[0]] == ["first", "second"]


def test_a_disk_that_refuses_is_warned_of_once_and_tried_again(tmp_path, warnings):
    folder = tmp_path / "later"
    state = State()
    keeper = Keeper(folder, state)
    state.x = 0.1
    for now_s in (0, 2, 4, 6):
        keeper.tick(now_s)
        settle(keeper)
    assert len(warnings()) == 1
    assert "the box's state is not saved: cannot write" in warnings()[0]
    assert "make the folder" in warnings()[0]
    folder.mkdir()
    keeper.tick(8)
    settle(keeper)
    assert load(folder).x == 0.1
    keeper.tick(10)
    (folder / FILE).unlink()
    folder.rmdir()
    state.x = 0.2
    keeper.tick(12)
    settle(keeper)
    keeper.close()
    assert len(warnings()) == 2


def test_closing_on_a_disk_that_refuses_is_a_warning(tmp_path, warnings):
    state = State()
    keeper = Keeper(tmp_path / "nowhere", state)
    state.x = 0.1
    keeper.close()
    assert len(warnings()) == 1


# --- kills

def numbered(number):
    """States that are all different, and of different lengths."""
    targets = {20 + at: default_target(sorted(RANGES)[(number + at) % len(RANGES)]) for at in range(number % 11)}
    return State(preset=f"preset {number}", x=number % 997 / 997, changes={"cutoff_hz": 20.0 + number % 1_000},
                 corners=(CornerChoice(f"own {number}", number % 4), None, None, None), controllers=MidiMap(targets))


def save_until_killed(folder, first, told):
    """Runs in a process of its own."""
    try:
        for number in itertools.count(first):
            save(folder, numbered(number).to_bytes())
            os.write(told, number.to_bytes(4))
    finally:
        os._exit(1)


def test_a_box_that_is_killed_while_it_saves_has_one_of_its_states(tmp_path, warnings):
    """A kill keeps what the kernel was given; that data reaches the disk before the name is files.atomic's test."""
    rng = random.Random(3)
    first, litter = 0, 0
    for _ in range(50):
        reads, writes = os.pipe()
        process = os.fork()
        if process == 0:
            save_until_killed(tmp_path, first, writes)
        os.close(writes)
        told = os.read(reads, 4)  # it has begun
        time.sleep(rng.uniform(0, 0.02))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        litter += len(list(tmp_path.iterdir())) - 1
        with open(reads, "rb") as pipe:
            told += pipe.read()
        last = int.from_bytes(told[-4:])
        state = load(tmp_path)
        number = int(state.preset.split()[1])
        assert state == numbered(number)
        assert number in (last, last + 1)  # what was told is there, and perhaps what came next
        first = number + 1
    assert first > 60
    assert litter > 5  # it was killed in the middle
    assert warnings() == []
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
