"""The daemon is killed, as by the plug, while presets come, go and are decoded and knobs turn: nothing is lost."""

import random
import signal
import threading
from pathlib import Path

import pytest
from running_box import RunningBox
from small_presets import small_preset

from device.bank import Bank
from device.box import state
from device.box.store import Store
from device.preset import Preset

NAMES = ("a", "b", "c")
VERSIONS = [small_preset(seed) for seed in range(6)]
HANDS = "\n".join(f"{0.1 * n:.1f} {knob} {value}" for n in range(1, 400) for knob, value in (
    ("x", round(n * 0.37 % 1, 2)), ("attack", round(n * 0.21 % 1, 2))))


class Ledger:
    """What the box has said of each name, and what it may have done since without having said so."""

    def __init__(self) -> None:
        self.sure: dict[str, bytes | None] = dict.fromkeys(NAMES)
        self.maybe: dict[str, bytes | None] = {}

    def may_be(self, name: str) -> list[bytes | None]:
        return [self.sure[name], *([self.maybe[name]] if name in self.maybe else [])]

    def settle(self, found: dict[str, bytes]) -> None:
        """What is there now is what there is."""
        self.sure = {name: found.get(name) for name in NAMES}
        self.maybe = {}


def meddle(box: RunningBox, ledger: Ledger, rng: random.Random) -> None:
    """One thing, done over the line."""
    name = rng.choice(NAMES)
    if ledger.sure[name] is None or rng.random() < 0.6:
        data = rng.choice(VERSIONS)
        ledger.maybe = {name: data}
        assert "off" in box.wire.upload(name, data)
        ledger.sure[name] = data
        box.wire.ask("select", name=name)  # which is decoded and kept from now on
    elif rng.random() < 0.5:
        ledger.maybe = {name: None}
        assert box.wire.ask("remove", name=name) == {}
        ledger.sure[name] = None
    elif free := [other for other in NAMES if ledger.sure[other] is None]:
        ledger.maybe = {name: None, free[0]: ledger.sure[name]}
        assert box.wire.ask("rename", name=name, to=free[0]) == {}
        ledger.sure[free[0]], ledger.sure[name] = ledger.sure[name], None
    ledger.maybe = {}


def check(folder: Path, ledger: Ledger) -> None:
    """Every preset is whole and as it should be; banks and state are as they were at some moment."""
    store = Store(folder)
    found = {path.stem: path.read_bytes() for path in (folder / "presets").iterdir()}
    assert set(found) <= set(NAMES)
    for name in NAMES:
        assert found.get(name) in ledger.may_be(name), name
        if name in found:
            Preset.from_bytes(found[name], name)
    assert not list((folder / "presets").glob(".*"))
    ledger.settle(found)
    assert len(store.names()) == 14 + len(found)
    for bank in (folder / "banks").glob("*/bank.json"):
        for pitch in Bank.open(bank.parent).pitches:
            assert Bank.open(bank.parent).is_whole(pitch)
    if (folder / "state.json").exists():
        state.parse((folder / "state.json").read_bytes())


def torment(folder: Path, kills: int, seed: int) -> dict[str, int]:
    """So many boxes, one after the other; each is killed at a random moment. How much came about."""
    rng, ledger, done = random.Random(seed), Ledger(), {"kills": 0, "doings": 0, "banks": 0}
    script = folder.parent / "hands.txt"
    script.write_text(HANDS)
    while done["kills"] < kills:
        with RunningBox(folder, "--panel-fake", str(script)) as box:
            if rng.random() < 0.8:
                box.plays()  # else it is killed while it begins
            killer = threading.Timer(rng.uniform(0, 1.5), box.process.send_signal, [signal.SIGKILL])
            killer.start()
            try:
                while True:
                    meddle(box, ledger, rng)
                    done["doings"] += 1
            except (TimeoutError, OSError):
                killer.join()
                assert box.process.wait(10) == -signal.SIGKILL, box.said()
            assert "Traceback" not in box.said()
        check(folder, ledger)
        done["kills"] += 1
        done["banks"] = len(list((folder / "banks").glob("*/[0-9]*.npy")))
    with RunningBox(folder) as box:
        box.plays()
        assert box.stop() == 0
    return done


def test_nothing_is_lost_when_it_is_killed(tmp_path):
    done = torment(tmp_path / "state", 6, 1)
    assert done["doings"] > 3


@pytest.mark.full  # 15 minutes
def test_nothing_is_lost_when_it_is_killed_five_hundred_times(tmp_path):
    done = torment(tmp_path / "state", 500, 2)
    assert done["doings"] > 500
    assert done["banks"] > 0
