"""The box is killed while presets come, go and are renamed: afterwards each is the old one or the new one, whole."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import tty
from pathlib import Path

import pytest
from small_presets import small_preset
from wire import Wire

from device.box.store import Store
from device.preset import Preset

PRESETS = [small_preset(seed) for seed in range(4)]
NAMES = ("a", "b", "c")
State = dict[str, bytes]  # the own presets


def own_presets(folder: Path) -> State:
    store = Store(folder)
    return {name: store.data(name) for name in store.names() if not store.is_shipped(name)}


def change(rng: random.Random, state: State) -> tuple[State, list[tuple[str, dict]]]:
    """Something to be done, as requests, and the state after it."""
    name, other, data = rng.choice(NAMES), rng.choice(NAMES), rng.choice(PRESETS)
    what = rng.random()
    if what < 0.2 and name in state and other not in state:
        return {**{kept: state[kept] for kept in state if kept != name}, other: state[name]}, [
            ("rename", {"name": name, "to": other})]
    if what < 0.4 and name in state:
        return {kept: state[kept] for kept in state if kept != name}, [("remove", {"name": name})]
    requests: list[tuple[str, dict]] = []
    if what < 0.8:
        requests.append(("announce", {"name": name, "len": len(data), "sha": hashlib.sha256(data).digest()}))
    return {**state, name: data}, [*requests, ("upload", {"name": name, "data": data})]


def carry_out(wire: Wire, requests: list[tuple[str, dict]]) -> None:
    for called, body in requests:
        told = wire.upload(**body) if called == "upload" else wire.ask(called, **body)
        assert "rc" not in told, told
        assert "err" not in told, (told, wire.ask("reason"))


def survives(folder: Path, kills: int, seed: int) -> None:
    rng, state, uncertain = random.Random(seed), {}, 0
    victim = subprocess.Popen([sys.executable, str(Path(__file__).with_name("serial_victim.py")), str(folder)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert victim.stdin is not None
    assert victim.stdout is not None
    for _ in range(kills):
        master, slave = os.openpty()  # a new one: what the dead one was asked is not asked of the next
        tty.setraw(slave)
        victim.stdin.write(f"{os.ttyname(slave)}\n")
        victim.stdin.flush()
        process = int(victim.stdout.readline())
        killed = threading.Event()

        def kill(process: int = process, killed: threading.Event = killed) -> None:
            os.kill(process, signal.SIGKILL)
            killed.set()

        timer = threading.Timer(rng.uniform(0, 0.12), kill)
        wire = Wire(master, lambda killed=killed: not killed.is_set())
        timer.start()
        before = after = state
        try:
            while True:
                after, requests = change(rng, before)
                carry_out(wire, requests)
                before = after
        except TimeoutError:
            assert killed.is_set()
        timer.join()
        os.close(master)
        os.close(slave)
        state = own_presets(folder)
        assert state in (before, after)
        uncertain += before != after
        for data in state.values():
            Preset.from_bytes(data, "a preset")
        assert {path.name for path in (folder / "presets").iterdir()} == {f"{name}.tetrad" for name in state}
        assert all(path.suffix == ".part" for path in (folder / "uploads").iterdir())
    victim.stdin.close()
    victim.wait()
    assert uncertain > kills // 3  # else it is not in the middle of things that it is killed


def test_killed_at_any_moment_every_preset_is_the_old_one_or_the_new_one(tmp_path):
    survives(tmp_path, 40, 1)


@pytest.mark.full  # a minute
def test_killed_five_hundred_times_every_preset_is_the_old_one_or_the_new_one(tmp_path):
    survives(tmp_path, 500, 2)
