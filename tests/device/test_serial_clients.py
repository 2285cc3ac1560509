"""The public clients of the protocol, and our own commands, against the server on a pseudo-terminal."""

import hashlib
import json
import subprocess
import sys
import time
import zlib
from argparse import ArgumentParser, Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
from cable import Cable, noisy, served
from serial.tools import list_ports
from small_presets import small_preset

from device.box.store import Store, StoreError, Trouble
from device.errors import TetradError
from device.serial_line import client as commands
from device.serial_line import file_group, link

OLD, NEW = small_preset(1), small_preset(2)
BIG = small_preset(5, notes=40)  # 320 KB

# The toolkit keeps Python's lock while it waits, so it runs in a process of its own.
TOOLKIT = """
import json, sys
from pathlib import Path
from mcumgr_toolkit import MCUmgrClient

port, folder = sys.argv[1], Path(sys.argv[2])
client, data, path = MCUmgrClient.serial(port), (folder / "P.tetrad").read_bytes(), "/presets/tool kit.tetrad"
told = {"echo": client.os_echo("grüß Gott"), "buffer": client.os_mcumgr_parameters().buf_size}
client.fs_file_upload(path, data[:9_000] + data[9_000:])  # in frames of 384 bytes
client.use_auto_frame_size()
client.fs_file_upload(path, data)
assert client.fs_file_download(path) == data
told["bytes"] = client.fs_file_status(path).length
told["sha256"] = client.fs_file_checksum(path, "sha256").output.hex()
told["crc32"] = client.fs_file_checksum(path, "crc32", 4, 100).output.hex()
told["hashes"] = sorted(client.fs_supported_checksum_types())
client.fs_file_close()
told["groups"] = [client.enum_get_group_count(), client.enum_get_group_ids(), list(client.enum_iter_group_ids()),
                  [(group.group, group.handlers) for group in client.enum_get_group_details()]]
told["status"] = client.raw_command(False, 64, 4, {})["voices"]
client.raw_command(True, 64, 1, {"name": "tool kit"})
for attempt in (lambda: client.fs_file_upload("/presets/bad.tetrad", data[:-5]),
                lambda: client.fs_file_status("/presets/none.tetrad"), lambda: client.raw_command(True, 64, 3, {})):
    try:
        attempt()
    except RuntimeError as error:
        told.setdefault("errors", []).append(str(error).splitlines()[-1].split()[-1])
client.os_system_reset()
print(json.dumps(told))
"""


@pytest.fixture
def cable(tmp_path):
    cable = Cable(tmp_path)
    yield cable
    cable.close()


def smpmgr(cable: Cable, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([str(Path(sys.executable).parent / "smpmgr"), "--port", str(cable.client), *words],
                          capture_output=True, text=True, timeout=60)


def run(command, cable: Cable, *words: str) -> None:
    parser = ArgumentParser()
    stage = command(parser)
    stage(parser.parse_args([*words, "--port", str(cable.client)]))


def test_smpmgr_sends_fetches_and_asks(tmp_path, cable):
    store, path = Store(tmp_path), "/presets/from smpmgr.tetrad"
    (tmp_path / "P.tetrad").write_bytes(BIG)
    with served(store, cable) as box:
        sent = smpmgr(cable, "--line-buffers", "120", "file", "upload", str(tmp_path / "P.tetrad"), path)
        assert sent.returncode == 0
        assert store.data("from smpmgr") == BIG
        assert smpmgr(cable, "file", "download", path, str(tmp_path / "back")).returncode == 0
        assert (tmp_path / "back").read_bytes() == BIG
        assert f"len={len(BIG)}" in smpmgr(cable, "file", "get-hash", path).stdout
        assert "FILE_NOT_FOUND" in smpmgr(cable, "file", "read-size", "/presets/none.tetrad").stdout
        assert "FILE_MANAGEMENT" in smpmgr(cable, "enum", "get-supported-groups").stdout
        assert smpmgr(cable, "os", "reset").returncode == 0
        assert box.resets == 1


def test_mcumgr_toolkit_sends_fetches_and_asks(tmp_path, cable):
    store = Store(tmp_path)
    (tmp_path / "P.tetrad").write_bytes(OLD)
    with served(store, cable) as box:
        done = subprocess.run([sys.executable, "-c", TOOLKIT, str(cable.client.resolve()), str(tmp_path)],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert store.data("tool kit") == OLD
        assert box.selected() == "tool kit"
        assert box.resets == 1
    assert told == {
        "echo": "grüß Gott", "buffer": 16_384, "bytes": len(OLD), "sha256": hashlib.sha256(OLD).hexdigest(),
        "crc32": zlib.crc32(OLD[4:104]).to_bytes(4).hex(), "hashes": ["crc32", "sha256"], "status": 3,
        "groups": [4, [0, 8, 10, 64], [0, 8, 10, 64], [[0, 3], [8, 5], [10, 4], [64, 9]]],
        "errors": ["FS_MGMT_ERR_FILE_WRITE_FAILED", "FS_MGMT_ERR_FILE_NOT_FOUND", "text"]}


def test_smpclient_sends_and_fetches(tmp_path, cable):
    import asyncio

    from smpclient import SMPClient
    from smpclient.transport.serial import SMPSerialTransport

    async def work() -> bytes:
        async with SMPClient(SMPSerialTransport(), str(cable.client)) as client:
            offsets = [there async for there in client.upload_file(BIG, "/presets/a.tetrad")]
            assert offsets[-1] == len(BIG)
            assert len(offsets) < 30  # the frames are as long as the box allows
            return await client.download_file("/presets/a.tetrad")

    store = Store(tmp_path)
    with served(store, cable):
        assert asyncio.run(work()) == BIG
    assert store.data("a") == BIG


def test_our_own_commands(tmp_path, cable, capsys):
    store = Store(tmp_path / "state")
    for name, data in (("one", OLD), ("two", BIG)):
        (tmp_path / f"{name}.tetrad").write_bytes(data)
    one, two = str(tmp_path / "one.tetrad"), str(tmp_path / "two.tetrad")
    with served(store, cable) as box:
        run(commands.push_command, cable, one, two, "--select", "--json")
        assert json.loads(capsys.readouterr().out) == {"presets": ["one", "two"], "bytes": len(OLD) + len(BIG)}
        assert (store.data("one"), store.data("two"), box.selected()) == (OLD, BIG, "two")
        run(commands.push_command, cable, two, "--name", "one")
        assert store.data("one") == BIG
        run(commands.rename_command, cable, "one", "won")
        run(commands.select_command, cable, "won")
        capsys.readouterr()
        run(commands.list_command, cable, "--json")
        told = json.loads(capsys.readouterr().out)
        assert told["selected"] == "won"
        assert told["presets"][-1] == {"name": "won", "bytes": len(BIG), "shipped": False}
        run(commands.list_command, cable)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(store.names())
        assert lines[-1].split() == ["*", "won", str(len(BIG)), "own"]
        run(commands.pull_command, cable, "won", "--out", str(tmp_path / "back.tetrad"))
        assert (tmp_path / "back.tetrad").read_bytes() == BIG
        run(commands.remove_command, cable, "won")
        assert "won" not in store.names()
        capsys.readouterr()
        run(commands.status_command, cable, "--json")
        told = json.loads(capsys.readouterr().out)
        assert (told["voices"], told["state"], told["cells"]) == (3, "/state", 25)


def test_the_list_of_many_presets_is_fetched_whole(tmp_path, cable, capsys):
    store = Store(tmp_path / "state")
    for number in range(70):
        (tmp_path / "state" / "presets" / f"p{number:02}.tetrad").write_bytes(OLD)
    with served(store, cable):
        run(commands.list_command, cable, "--json")
    assert [preset["name"] for preset in json.loads(capsys.readouterr().out)["presets"]] == store.names()


@pytest.mark.parametrize(("command", "words", "text"), [
    (commands.remove_command, ["none"], "no preset none"),
    (commands.remove_command, ["first"], "shipped preset"),
    (commands.select_command, ["winds"], "another decoder"),
    (commands.rename_command, ["first", "other"], "shipped preset"),
    (commands.pull_command, ["none", "--out", "x"], "no preset none"),
    (commands.remove_command, ["../x"], "no name for a preset"),
])
def test_what_the_box_refuses_is_told_in_its_words(tmp_path, cable, command, words, text):
    with served(Store(tmp_path), cable), pytest.raises(TetradError, match=text):
        run(command, cable, *words)


def test_what_is_no_preset_is_not_sent(tmp_path, cable):
    (tmp_path / "bad.tetrad").write_bytes(OLD[:-4])
    (tmp_path / "bad name!.tetrad").write_bytes(OLD)
    with pytest.raises(TetradError, match="not a whole preset"):
        run(commands.push_command, cable, str(tmp_path / "bad.tetrad"))
    with pytest.raises(TetradError, match="no name for a preset"):
        run(commands.push_command, cable, str(tmp_path / "bad name!.tetrad"))
    with pytest.raises(TetradError, match=r"none\.tetrad"):
        run(commands.push_command, cable, str(tmp_path / "none.tetrad"))


def test_the_key_is_given_from_a_file_or_the_environment(tmp_path, cable, monkeypatch, capsys):
    monkeypatch.delenv("TETRAD_KEY", raising=False)
    (tmp_path / "key").write_text("s3cret\n")
    (tmp_path / "other").write_text("wr0ng\n")
    store = Store(tmp_path)
    with served(store, cable, key="s3cret"):
        with pytest.raises(TetradError, match=r"key first.*--key-file"):
            run(commands.select_command, cable, "keys")
        with pytest.raises(TetradError, match="key is wrong") as caught:
            run(commands.select_command, cable, "keys", "--key-file", str(tmp_path / "other"))
        assert "wr0ng" not in str(caught.value)
        (tmp_path / "P.tetrad").write_bytes(OLD)
        run(commands.push_command, cable, str(tmp_path / "P.tetrad"), "--key-file", str(tmp_path / "key"))
        assert store.data("P") == OLD
        monkeypatch.setenv("TETRAD_KEY", "s3cret")
        run(commands.select_command, cable, "P")
    assert "s3cret" not in "".join(capsys.readouterr())


def test_a_push_that_was_cut_goes_on_where_it_was(tmp_path, cable):
    store = Store(tmp_path)
    (tmp_path / "P.tetrad").write_bytes(BIG)
    store.begin("P", len(BIG), hashlib.sha256(BIG).digest())
    store.append("P", 0, BIG[:300_000])
    through = []
    cable.noise = lambda data: through.append(len(data)) or data
    with served(store, cable):
        run(commands.push_command, cable, str(tmp_path / "P.tetrad"))
    assert store.data("P") == BIG
    assert sum(through) < 0.5 * len(BIG)


def test_a_push_after_a_part_that_a_power_cut_damaged_begins_anew(tmp_path, cable):
    store = Store(tmp_path)
    (tmp_path / "P.tetrad").write_bytes(BIG)
    store.begin("P", len(BIG), hashlib.sha256(BIG).digest())
    store.append("P", 0, BIG[:200_000] + bytes(50_000))
    with served(store, cable):
        run(commands.push_command, cable, str(tmp_path / "P.tetrad"))
    assert store.data("P") == BIG


def test_push_and_pull_come_through_a_line_that_loses_bytes(tmp_path, cable, monkeypatch):
    monkeypatch.setattr(link, "TIMEOUT_S", 0.15)
    monkeypatch.setattr(link, "MOST_TRIES_IN_VAIN", 50)
    store, preset = Store(tmp_path), small_preset(4, notes=2)
    (tmp_path / "P.tetrad").write_bytes(preset)
    with served(store, cable):
        cable.noise = noisy(0.0002, 3)
        run(commands.push_command, cable, str(tmp_path / "P.tetrad"))
        assert store.data("P") == preset
        run(commands.pull_command, cable, "P", "--out", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == preset


def test_a_push_goes_on_in_shorter_frames_where_long_ones_do_not_pass(tmp_path, cable, monkeypatch):
    monkeypatch.setattr(link, "TIMEOUT_S", 0.15)
    passed = 0

    def damage(data: bytes) -> bytes:
        nonlocal passed
        passed += len(data)
        return data if passed % 4_000 >= len(data) else b"*" + data[1:]  # a byte of 4,000

    store = Store(tmp_path)
    (tmp_path / "P.tetrad").write_bytes(OLD)
    with served(store, cable):
        cable.noise = damage
        run(commands.push_command, cable, str(tmp_path / "P.tetrad"))
    assert store.data("P") == OLD


def test_a_push_whose_last_answer_is_lost_is_done(tmp_path, cable, monkeypatch):
    monkeypatch.setattr(link, "TIMEOUT_S", 0.3)
    finish = Store.finish
    monkeypatch.setattr(Store, "finish", lambda store, name: finish(store, name) or time.sleep(0.5))
    store, through = Store(tmp_path), []
    (tmp_path / "P.tetrad").write_bytes(BIG)
    cable.noise = lambda data: through.append(len(data)) or data
    with served(store, cable) as box:
        run(commands.push_command, cable, str(tmp_path / "P.tetrad"))
        assert box.told == [("P", False)]
    assert store.data("P") == BIG
    assert sum(through) < 1.6 * len(BIG)  # it was sent once


def test_what_the_box_cannot_write_is_sent_once_more_and_no_further(tmp_path, cable, monkeypatch):
    tried = []

    def refuse(store: Store, name: str, data: bytes) -> None:
        tried.append(name)
        raise StoreError(Trouble.DISK, "cannot write it: the disk is tired")

    monkeypatch.setattr(Store, "_write", refuse)
    (tmp_path / "P.tetrad").write_bytes(OLD)
    with served(Store(tmp_path), cable), pytest.raises(TetradError, match="the disk is tired"):
        run(commands.push_command, cable, str(tmp_path / "P.tetrad"))
    assert tried == ["P", "P"]


def test_a_pull_is_held_against_the_box_s_sha256(tmp_path, cable, monkeypatch):
    monkeypatch.setitem(file_group.HASHES, "sha256", (lambda data: bytes(32), 1, 32))
    with served(Store(tmp_path), cable), pytest.raises(TetradError, match="first changed on the box"):
        run(commands.pull_command, cable, "first", "--out", str(tmp_path / "back"))
    assert not (tmp_path / "back").exists()


def test_no_answer_is_one_line(tmp_path, cable, monkeypatch):
    monkeypatch.setattr(link, "TIMEOUT_S", 0.1)
    for command, words in ((commands.status_command, []), (commands.remove_command, ["a"]),
                           (commands.pull_command, ["a", "--out", "x"])):
        with pytest.raises(TetradError, match=r"^no answer on .*: is it a Tetrad, and switched on"):
            run(command, cable, *words)
    with pytest.raises(TetradError, match=r"cannot open .*ttyNone"):
        run(commands.status_command, SimpleNamespace(client=tmp_path / "ttyNone"))


def test_the_port_is_that_of_the_one_box_on_usb(monkeypatch):
    def boxes(*products):
        monkeypatch.setattr(list_ports, "comports", lambda: [
            SimpleNamespace(device=f"/dev/ttyACM{number}", product=product) for number, product in enumerate(products)])

    boxes("Arduino", "Tetrad", None)
    assert commands.find_port() == "/dev/ttyACM1"
    boxes("Arduino", None)
    with pytest.raises(TetradError, match=r"no box on USB.*--port"):
        commands.find_port()
    boxes("Tetrad", "Tetrad")
    with pytest.raises(TetradError, match=r"/dev/ttyACM0, /dev/ttyACM1.*--port"):
        commands.find_port()


def test_help_costs_no_import_of_the_client():
    slow = "import sys; from argparse import ArgumentParser; from device.serial_line.client import push_command\n" \
           "push_command(ArgumentParser())\n" \
           "print([name for name in ('smp', 'smpclient', 'pydantic', 'serial') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", slow], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "[]\n", done.stderr


def test_one_name_is_for_one_preset(capsys):
    parser = ArgumentParser()
    stage = commands.push_command(parser)
    with pytest.raises(SystemExit):
        stage(Namespace(name="a", presets=[Path("a"), Path("b")]))
    assert "one preset" in capsys.readouterr().err
