import asyncio
import contextlib
import random
import re
from pathlib import Path

import cbor2
import pytest
from cable import SomeBox
from hypothesis import given
from hypothesis import strategies as st
from smp.error import MGMT_ERR
from smp.header import OP, Version

from device.box.store import Store, Trouble
from device.serial_line.commands import BY_NAME, COMMANDS, FAILURES, GROUPS, TetradCode
from device.serial_line.messages import Header, SmpError, read_body
from device.serial_line.pairing import Pairing
from device.serial_line.session import Session

DOCUMENT = Path(__file__).parents[2] / "docs" / "serial.md"


def session(folder: Path, key: str = "", buffer_bytes: int = 4_096) -> Session:
    store = Store(folder)
    return Session(SomeBox(store), store, Pairing(key), {}, buffer_bytes, True)


def request(called: str, /, version: int = Version.V2, sequence: int = 0, **body: object) -> bytes:
    command = BY_NAME[called]
    return Header(command.op, version, 0, 0, command.group, sequence, command.id).message(body)


def answered(where: Session, message: bytes) -> tuple[Header, dict]:
    data = asyncio.run(where.answer(message))
    assert data is not None
    return Header.read(data), cbor2.loads(data[8:])


def test_an_answer_has_the_request_s_sequence_version_group_and_command(tmp_path):
    for version in Version:
        for sequence in (0, 77, 255):
            header, body = answered(session(tmp_path), request("echo", version, sequence, d="ä"))
            assert header[:3] == (OP.WRITE_RSP, version, 0)
            assert header[4:] == (0, sequence, 0)
            assert header.length == len(cbor2.dumps(body))
            assert body == {"r": "ä"}
    assert answered(session(tmp_path), request("params"))[0].op == OP.READ_RSP


def test_a_failure_is_told_as_each_version_has_it(tmp_path):
    where = session(tmp_path)
    for path, code, before in (("/presets/none.tetrad", 3, MGMT_ERR.ENOENT), ("/etc/passwd", 2, MGMT_ERR.EINVAL)):
        _, body = answered(where, request("file_status", Version.V1, name=path))
        assert body["rc"] == before
        assert path[9:13] in body["rsn"]
        _, body = answered(where, request("file_status", Version.V2, name=path))
        assert body == {"err": {"group": 8, "rc": code}}
    _, body = answered(where, request("select", Version.V2, name="none"))
    assert body == {"err": {"group": 64, "rc": TetradCode.MISSING}}
    assert "no preset none" in answered(where, request("reason"))[1]["reason"]
    _, body = answered(where, request("group_at", Version.V2, index=4))
    assert body == {"err": {"group": 10, "rc": 4}}


def test_the_groups_are_told_one_by_one_to_the_last(tmp_path):
    told = [answered(session(tmp_path), request("group_at", index=index))[1] for index in range(4)]
    assert told == [{"group": 0}, {"group": 8}, {"group": 10}, {"group": 64, "end": True}]
    assert answered(session(tmp_path), request("group_at"))[1] == {"group": 0}
    details = answered(session(tmp_path), request("group_details", groups=[64, 0, 99]))[1]["groups"]
    assert details == [{"group": 0, "name": "os mgmt", "handlers": 3}, {"group": 64, "name": "tetrad", "handlers": 9}]


def test_every_trouble_of_the_store_has_its_numbers():
    assert set(FAILURES) == set(Trouble)
    assert len({ours for ours, _, _ in FAILURES.values()}) == len(FAILURES)


@pytest.mark.parametrize(("data", "code"), [
    (Header(OP.READ, Version.V2, 0, 0, 1, 5, 0).message({}), MGMT_ERR.ENOTSUP),
    (Header(OP.READ, Version.V2, 0, 0, 0, 5, 77).message({}), MGMT_ERR.ENOTSUP),
    (Header(OP.WRITE, Version.V2, 0, 0, 0, 5, 6).message({}), MGMT_ERR.ENOTSUP),
    (Header(OP.READ, 2, 0, 0, 0, 5, 6).message({}), MGMT_ERR.UNSUPPORTED_TOO_NEW),
    (request("params") + b"\xa0", MGMT_ERR.ECORRUPT),
    (request("params")[:-1], MGMT_ERR.ECORRUPT),
    (request("params")[:-1] + b"\xa1", MGMT_ERR.ECORRUPT),
    (request("params")[:-1] + b"\x80", MGMT_ERR.EINVAL),
    (request("echo", d=5), MGMT_ERR.EINVAL),
    (request("echo"), MGMT_ERR.EINVAL),
    (request("download", off=-1, name="/presets/first.tetrad"), MGMT_ERR.EINVAL),
    (request("download", off=True, name="/presets/first.tetrad"), MGMT_ERR.EINVAL),
    (request("download", off=1 << 32, name="/presets/first.tetrad"), MGMT_ERR.EINVAL),
    (request("upload", off=0, data=b"x", name="/presets/a.tetrad"), MGMT_ERR.EINVAL),
    (request("announce", name="a", len=9, sha=b"short"), MGMT_ERR.EINVAL),
    (request("echo", d="x" * 5_000), MGMT_ERR.EMSGSIZE),
])
def test_what_cannot_be_understood_gets_the_protocol_s_own_number(tmp_path, data, code):
    where = session(tmp_path)
    header, body = answered(where, data)
    assert body["rc"] == code
    assert body["rsn"]
    assert header.sequence == Header.read(data).sequence


def test_what_is_no_request_gets_no_answer(tmp_path):
    where = session(tmp_path)
    for op in (1, 3, 4, 7):
        assert asyncio.run(where.answer(Header(op, Version.V2, 0, 0, 0, 0, 0).message({}))) is None


HEADER = Header(OP.READ, Version.V2, 0, 0, 0, 0, 0)


def body_of(content: bytes) -> object:
    return read_body(bytes(8) + content, HEADER._replace(length=len(content)))


@pytest.mark.parametrize("content", ["81" * 3_000, "c074323031332d30332d32315432303a30343a30305a", "d82363612b62",
                                     "d81c81d81d00", "c249010000000000000000", "c5821b7fffffffffffffff03",
                                     "a1d9010481016161", "9bffffffffffffffff", "5b7fffffffffffffff", "bf", "ff", "a161",
                                     "00", "80", "6161", "f6", "a1616182c11a514b67b0c11a514b67b0"])
def test_cbor_that_is_no_plain_map_is_refused(content):
    with pytest.raises(SmpError):
        body_of(bytes.fromhex(content))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_map_or_refused(content):
    with contextlib.suppress(SmpError):
        assert isinstance(body_of(content), dict)


def test_any_request_is_answered_and_changes_nothing_that_it_does_not_name(tmp_path):
    rng, where = random.Random(5), session(tmp_path)
    somethings = ("first", "a", "/presets/a.tetrad", "", "../x", 0, 1, 2**31, -1, b"", b"x" * 32, None, [8], {}, 1.5)
    for _ in range(3_000):
        command = rng.choice(COMMANDS)
        body = {key: rng.choice(somethings) for key in (*command.needs, *command.may, "other") if rng.random() < 0.8}
        message = bytearray(Header(command.op, 1, 0, 0, command.group, rng.randrange(256), command.id).message(body))
        if rng.random() < 0.3:
            message[rng.randrange(8, len(message) + 1) - 1] = rng.randrange(256)
        answer = asyncio.run(where.answer(bytes(message)))
        assert answer is None or isinstance(cbor2.loads(answer[8:]), dict)
    assert not list((tmp_path / "presets").iterdir())


def test_the_document_tells_every_request_and_every_number():
    text = DOCUMENT.read_text()
    for command in COMMANDS:
        keys = ", ".join([*command.needs, *(f"{key}?" for key in command.may)])
        row = (f"| {int(command.group)} | {int(command.id)} | {command.op.name.lower()} | {command.name} "
               f"| {keys} | {'yes' if command.writes else ''} |")
        assert row in text
    for code in TetradCode:
        assert re.search(rf"^\| {int(code)} \| {code.name} \|", text, re.MULTILINE)
    for ours, of_files, before in FAILURES.values():
        assert re.search(rf"^\| {int(ours)} \| .* \| {int(of_files)} \| {int(before)} \|$", text, re.MULTILINE)
    assert all(f"group {int(group)}" in text for group in GROUPS)


def test_wrong_keys_cost_more_and_more_time():
    now = [100.0]
    pairing, told = Pairing("right", lambda: now[0]), []

    def code(key: str) -> int | None:
        try:
            pairing.check(key)
        except SmpError as error:
            told.append(error.reason)
            return error.code
        return None

    assert [code("wrong") for _ in range(4)] == [TetradCode.WRONG_KEY] * 3 + [TetradCode.WAIT]
    assert code("right") == TetradCode.WAIT  # nobody learns while waiting
    for wait_s in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
        now[0] += wait_s - 0.1
        assert code("wrong") == TetradCode.WAIT
        now[0] += 0.2
        assert code("wrong") == TetradCode.WRONG_KEY
    now[0] += 301
    assert code("right") is None
    assert [code("wrong") for _ in range(3)] == [TetradCode.WRONG_KEY] * 3
    assert "right" not in str(told)


def test_without_the_key_nothing_is_written_and_all_is_read(tmp_path):
    where = session(tmp_path, key="k3y")
    somethings = {str: "first", int: 5, bytes: bytes(32)}
    for command in COMMANDS:
        if command.name in ("pair",):
            continue
        wanted = {key: somethings[kind] for key, kind in command.needs.items()}
        _, body = answered(where, request(command.name, **wanted))
        refused = body.get("rc") == MGMT_ERR.EACCESSDENIED
        assert refused == (command.name in ("upload", "rename", "remove", "select", "reset", "announce"))
    assert answered(where, request("pair", key="wrong"))[1]["err"]["rc"] == TetradCode.WRONG_KEY
    assert "rc" in answered(where, request("select", name="keys"))[1]
    assert answered(where, request("pair", key="k3y"))[1] == {}
    assert answered(where, request("select", name="keys"))[1] == {}


def test_the_key_stands_in_no_log_and_no_answer(tmp_path, caplog):
    where = session(tmp_path, key="s3cret")
    with caplog.at_level(0):
        told = [answered(where, request("pair", key=key))[1] for key in ("s3cretx", "no", "s3cret")]
        told.append(answered(where, request("reason"))[1])
        told.append(answered(where, request("pair", key=5))[1])
    assert "s3cret" not in str(told)
    assert "s3cret" not in caplog.text


def test_what_goes_wrong_inside_is_answered_and_logged(tmp_path, caplog):
    where = session(tmp_path)
    where._handlers["status"] = lambda: 1 / 0
    _, body = answered(where, request("status"))
    assert body["rc"] == MGMT_ERR.EUNKNOWN
    assert "ZeroDivisionError" in caplog.text
