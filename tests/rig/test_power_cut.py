"""The power fails while presets come, go and are baked, again and again: the box comes up, and nothing is lost.

Each time QEMU is killed; and of what it had written until then, at other moments and with other luck (disk.py), further
disks are made, as they might have been left. All of them are looked at. TETRAD_CUTS asks for so many kills.
"""

import os
import random
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from disk import Disk
from image import Image
from machine import Machine
from small_presets import small_preset
from wire import Wire

from device.bank import Bank
from device.box import state
from device.box.store import Store
from device.errors import TetradError
from device.preset import Preset
from device.serial_line.commands import remote_path

pytestmark = pytest.mark.rig

NAMES = ("a", "b", "c")
VERSIONS = [small_preset(seed) for seed in range(6)]
CUTS = {True: 20, False: 2}  # by whether the processor itself runs the guest: else each takes a minute
DISKS = 10  # that are looked at, of each cut
ROUGH_S = (2.0, 8.0)  # from the first preset to the cut
SETTINGS = """[audio]
device = "null"
[serial]
ports = ["/dev/ttyS1"]
[decoding]
pitch_step = 6
[panel]
kind = "none"
"""

Presets = dict[str, bytes]


class Line(Wire):
    """A client that is patient with an emulated box."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.line.fileno(), machine.alive)
        self._patience_s = 3 * machine.slow

    def ask(self, called: str, /, timeout_s: float = 0.0, **body: object) -> dict:
        return super().ask(called, timeout_s or self._patience_s, **body)

    def own(self) -> Presets:
        """All own presets, as the box gives them back."""
        listed = self.ask("list")
        assert listed["total"] == len(listed["presets"])
        return {preset["name"]: self.fetch(preset["name"]) for preset in listed["presets"] if not preset["shipped"]}

    def fetch(self, name: str) -> bytes:
        data, total = b"", 1
        while len(data) < total:
            told = self.ask("download", off=len(data), name=remote_path(name))
            total = told.get("len", total)
            data += told["data"]
        return data


class Ledger:
    """What the box has said that it has, and how long the disk's log was then. `next` is what it was asked for last."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.now: Presets = {}
        self.next: Presets = {}
        self._past: list[tuple[int, Presets]] = []

    def begin(self, found: Presets) -> None:
        """With a machine that has booted and been asked."""
        self.now = self.next = found
        self._past = [(0, found)]

    def done(self) -> None:
        self.now = self.next
        self._past.append((self._disk.logged_bytes(), self.now))

    def may_be(self, logged_bytes: int) -> tuple[Presets, Presets]:
        """What was sure when the log was so long, and what was under way: a later one began when that was done."""
        n = max(n for n, (logged, _) in enumerate(self._past) if logged <= logged_bytes)
        return self._past[n][1], self._past[n + 1][1] if n + 1 < len(self._past) else self.next


def is_one_of(found: Presets, before: Presets, after: Presets) -> bool:
    return all(found.get(name) in (before.get(name), after.get(name)) for name in NAMES) and set(found) <= set(NAMES)


def meddle(line: Line, ledger: Ledger, rng: random.Random) -> None:
    """One thing, done over the line."""
    now, name = ledger.now, rng.choice(NAMES)
    free = [other for other in NAMES if other not in now]
    if name not in now or rng.random() < 0.6:
        ledger.next = now | {name: rng.choice(VERSIONS)}
        assert "off" in line.upload(name, ledger.next[name])
        ledger.done()
        line.ask("select", name=name)
    elif free and rng.random() < 0.5:
        ledger.next = {**{other: data for other, data in now.items() if other != name}, free[0]: now[name]}
        assert line.ask("rename", name=name, to=free[0]) == {}
        ledger.done()
    else:
        ledger.next = {other: data for other, data in now.items() if other != name}
        assert line.ask("remove", name=name) == {}
        ledger.done()


def check_disk(image: Path, folder: Path, before: Presets, after: Presets) -> int:
    """The file system mends itself, and what is in it is whole. How many baked pitches there are."""
    ran = subprocess.run(["e2fsck", "-p", image], capture_output=True, text=True)  # replays the journal; asks nobody
    assert ran.returncode in (0, 1), ran.stdout
    folder.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {folder}", image], check=True, capture_output=True)
    found = {path.stem: path.read_bytes() for path in (folder / "presets").glob("*.tetrad")}
    assert is_one_of(found, before, after), (sorted(found), sorted(before), sorted(after))
    store = Store(folder)
    for name in found:
        Preset.from_bytes(store.data(name), name)
    assert not list((folder / "presets").glob(".*"))
    if (folder / state.FILE).exists():
        state.parse((folder / state.FILE).read_bytes())
    return sum(map(check_bank, [*folder.glob("banks/*"), *folder.glob("baking/*")]))


def check_bank(folder: Path) -> int:
    """What a bank says that it has, it has."""
    try:
        bank = Bank.open(folder)
    except TetradError:  # it was about to be made, or thrown away
        assert not (folder / "bank.json").exists()
        return 0
    for pitch in bank.pitches:
        table, levels = bank.table(pitch), bank.levels(pitch)
        if folder.parent.name == "baking":
            assert (table == pitch * 100).all()
            assert (levels == np.float32(pitch / 128)).all()
    return len(bank.pitches)


def test_power_cuts_lose_nothing(rig_image: Image, share: Path, tmp_path: Path) -> None:
    rng, disk, done = random.Random(1), Disk(tmp_path), {"cuts": 0, "doings": 0, "at stake": 0, "pitches": 0}
    ledger, cuts = Ledger(disk), 0
    for number, data in enumerate(VERSIONS):
        (share / "out" / f"small{number}.tetrad").write_bytes(data)
    before = after = {}
    while True:
        machine = Machine(rig_image, share, disk)
        cuts = cuts or int(os.environ.get("TETRAD_CUTS", CUTS[machine.slow == 1]))
        machine.call("box.start", settings=SETTINGS, timeout_s=60)
        machine.call("box.wait_until_said", words="served on /dev/ttyS1", seconds=60 * machine.slow, timeout_s=61)
        line = Line(machine)
        found = line.own()
        assert is_one_of(found, before, after)
        ledger.begin(found)
        if done["cuts"] == cuts:
            assert machine.call("box.process")["NRestarts"] == "0"
            machine.cut()
            break
        machine.call("baking.start", timeout_s=31)
        began = disk.logged_bytes()
        killer = threading.Timer(rng.uniform(*ROUGH_S) * machine.slow / 2, machine.kill)
        killer.start()
        try:
            while True:
                meddle(line, ledger, rng)
                done["doings"] += 1
        except (TimeoutError, OSError):  # the line is gone
            assert machine.wait(0.1) == -signal.SIGKILL
            machine.cut()
        done["cuts"] += 1
        for n in range(DISKS):
            until = rng.randrange(began, disk.logged_bytes() + 1)
            made = tmp_path / f"disk-{done['cuts']}-{n}"
            done["at stake"] += disk.cut(until, rng, made)
            done["pitches"] += check_disk(made, made.with_suffix(".files"), *ledger.may_be(until))
            subprocess.run(["rm", "-r", made, made.with_suffix(".files")], check=True)
        disk.cut(disk.logged_bytes(), rng, disk.image)
        before, after = ledger.may_be(disk.logged_bytes())
    print(done)
    assert done["doings"] > 2 * cuts
    assert done["at stake"] > 0
    assert done["pitches"] > 0
