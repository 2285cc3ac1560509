"""A line that changes, loses and doubles bytes: a wrong preset never gets in, and afterwards all is as before."""

import contextlib
import hashlib
import os
import random
import time
from pathlib import Path

import pytest
from cable import Cable, noisy, served
from small_presets import small_preset
from wire import Wire

from device.box.store import Store
from device.serial_line.commands import remote_path

PRESETS = [small_preset(seed) for seed in range(3)]
NAMES = ("a", "b", "c")
USB_BYTES_PER_S = 1_000_000  # what USB at full speed brings


def check(store: Store) -> None:
    """Nothing is in the store but what was sent, under the names that were given."""
    own = [name for name in store.names() if not store.is_shipped(name)]
    assert set(own) <= set(NAMES)
    assert all(store.data(name) in PRESETS for name in own)


def work(client: Wire, rng: random.Random) -> None:
    """One thing that a client may want; what gets lost is left at that."""
    name, data = rng.choice(NAMES), rng.choice(PRESETS)
    with contextlib.suppress(TimeoutError):
        what = rng.random()
        if what < 0.1:
            client.ask("rename", 0.05, name=name, to=rng.choice(NAMES))
        elif what < 0.2:
            client.ask("remove", 0.05, name=name)
        else:
            if what < 0.6:
                client.ask("announce", 0.05, name=name, len=len(data), sha=hashlib.sha256(data).digest())
            there, chunk = 0, rng.choice((100, 500, 3_000))
            while there < len(data):
                told = {}
                for _ in range(4):
                    with contextlib.suppress(TimeoutError):
                        told = client.ask("upload", 0.05, off=there, data=data[there:there + chunk],
                                          name=remote_path(name), **({"len": len(data)} if there == 0 else {}))
                        break
                if "off" not in told:
                    return
                there = told["off"]


def through_noise(folder: Path, rate: float, duration_s: float) -> int:
    """Works over a noisy line, and returns how often the box was told of a preset."""
    cable, store, rng = Cable(folder), Store(folder), random.Random(rate)
    with served(store, cable) as box:
        client = Wire(os.open(cable.client, os.O_RDWR | os.O_NOCTTY))
        cable.noise = noisy(rate, 1)
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            work(client, rng)
            check(store)
        cable.noise = bytes
        link_is_back(client)
        for name, data in zip(NAMES, PRESETS, strict=True):
            assert client.upload(name, data) == {"off": len(data)}
            assert store.data(name) == data
    cable.close()
    return sum(not removed for _, removed in box.told)


def link_is_back(client: Wire) -> None:
    """At the latest with the second frame: the first may complete a line that noise began."""
    time.sleep(0.2)  # what the box still answers
    client.drain()
    try:
        told = client.ask("echo", d="back")
    except TimeoutError:
        told = client.ask("echo", d="back")
    assert told == {"r": "back"}


@pytest.mark.parametrize("rate", [0.0003, 0.001, 0.01])
def test_through_noise_no_wrong_preset_gets_in_and_the_link_comes_back(tmp_path, rate):
    came_in = through_noise(tmp_path, rate, 0.8)
    assert came_in >= (4 if rate < 0.001 else 3)  # the three after the noise, and at little noise some in it


@pytest.mark.full  # 60 s
def test_through_a_minute_of_noise_no_wrong_preset_gets_in(tmp_path):
    for rate in (0.0003, 0.001, 0.003, 0.01):
        (tmp_path / str(rate)).mkdir()
        through_noise(tmp_path / str(rate), rate, 15)


def pour(folder: Path, size_bytes: int) -> None:
    """Random bytes, with pieces of real frames among them, then work."""
    cable, store, rng = Cable(folder), Store(folder), random.Random(6)
    store.add("a", PRESETS[0])
    with served(store, cable):
        client = Wire(os.open(cable.client, os.O_RDWR | os.O_NOCTTY))
        frame = client.request("upload", off=0, len=len(PRESETS[1]), data=PRESETS[1][:900], name=remote_path("a"))
        for _ in range(size_bytes // 65_536):
            cut = rng.randrange(len(frame))
            cable.send(rng.randbytes(65_536 - cut) + frame[:cut])
        assert store.data("a") == PRESETS[0]
        check(store)
        link_is_back(client)
        assert client.upload("a", PRESETS[1]) == {"off": len(PRESETS[1])}
    cable.close()


def test_twenty_seconds_of_random_bytes_at_the_speed_of_usb_do_nothing(tmp_path):
    pour(tmp_path, 20 * USB_BYTES_PER_S)


@pytest.mark.full  # 60 s: as fast as the box takes them
def test_a_minute_of_random_bytes_does_nothing(tmp_path):
    pour(tmp_path, 240 * USB_BYTES_PER_S)
