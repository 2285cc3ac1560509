"""Which requests there are, and with which numbers they fail: the two tables of docs/serial.md.

The groups 0, 8 and 10 are the standard's; group 64 is Tetrad's own.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from smp.error import MGMT_ERR
from smp.file_management import FS_MGMT_ERR
from smp.header import OP, CommandId, GroupId

from device.box.store import StoreError, Trouble
from device.library import SUFFIX
from device.serial_line.messages import SmpError

OS, FILE, ENUM, TETRAD = GroupId.OS_MANAGEMENT, GroupId.FILE_MANAGEMENT, GroupId.ENUM_MANAGEMENT, 64
GROUPS = {OS: "os mgmt", FILE: "fs mgmt", ENUM: "enum mgmt", TETRAD: "tetrad"}
FOLDER = "/presets/"
SHA256_BYTES = 32

R, W = OP.READ, OP.WRITE
_Os, _File, _Enum = CommandId.OSManagement, CommandId.FileManagement, CommandId.EnumManagement


class Command(NamedTuple):
    """`writes`: only after pairing, where the box has a key. `needs` and `may` are the request's keys."""

    group: int
    id: int
    op: OP
    name: str
    writes: bool
    needs: Mapping[str, type]
    may: Mapping[str, type] = {}


COMMANDS = (
    Command(OS,     _Os.ECHO,                                  R, "echo",          False, {"d": str}),
    Command(OS,     _Os.ECHO,                                  W, "echo",          False, {"d": str}),
    Command(OS,     _Os.RESET,                                 W, "reset",         True,  {}),
    Command(OS,     _Os.MCUMGR_PARAMETERS,                     R, "params",        False, {}),
    Command(FILE,   _File.FILE_DOWNLOAD_UPLOAD,                R, "download",      False, {"off": int, "name": str}),
    Command(FILE,   _File.FILE_DOWNLOAD_UPLOAD,                W, "upload",        True,
            {"off": int, "data": bytes, "name": str}, {"len": int}),
    Command(FILE,   _File.FILE_STATUS,                         R, "file_status",   False, {"name": str}),
    Command(FILE,   _File.FILE_HASH_CHECKSUM,                  R, "file_hash",     False, {"name": str},
            {"type": str, "off": int, "len": int}),
    Command(FILE,   _File.SUPPORTED_FILE_HASH_CHECKSUM_TYPES,  R, "hash_types",    False, {}),
    Command(FILE,   _File.FILE_CLOSE,                          W, "close",         False, {}),
    Command(ENUM,   _Enum.GROUP_COUNT,                         R, "group_count",   False, {}),
    Command(ENUM,   _Enum.LIST_OF_GROUPS,                      R, "group_list",    False, {}),
    Command(ENUM,   _Enum.GROUP_ID,                            R, "group_at",      False, {}, {"index": int}),
    Command(ENUM,   _Enum.GROUP_DETAILS,                       R, "group_details", False, {}, {"groups": list}),
    Command(TETRAD, 0,                                         R, "list",          False, {}, {"off": int}),
    Command(TETRAD, 1,                                         W, "select",        True,  {"name": str}),
    Command(TETRAD, 2,                                         W, "rename",        True,  {"name": str, "to": str}),
    Command(TETRAD, 3,                                         W, "remove",        True,  {"name": str}),
    Command(TETRAD, 4,                                         R, "status",        False, {}),
    Command(TETRAD, 5,                                         R, "progress",      False, {}),
    Command(TETRAD, 6,                                         W, "announce",      True,
            {"name": str, "len": int, "sha": bytes}),
    Command(TETRAD, 7,                                         W, "pair",          False, {"key": str}),
    Command(TETRAD, 8,                                         R, "reason",        False, {}),
)
BY_NUMBER = {(command.group, command.id, command.op): command for command in COMMANDS}
BY_NAME = {command.name: command for command in COMMANDS}


class TetradCode(IntEnum):
    """With which numbers requests of group 64 fail."""

    OK = 0
    UNKNOWN = 1
    BAD_NAME = 2
    MISSING = 3
    SHIPPED = 4
    TAKEN = 5
    FULL = 6
    BAD_OFFSET = 7
    DAMAGED = 8
    DISK = 9
    WRONG_KEY = 10
    WAIT = 11
    NOT_LOADED = 12


# What is wrong in the store, as group 64, group 8 and version 1 (of both) say it.
FAILURES = {
    Trouble.NAME:    (TetradCode.BAD_NAME,   FS_MGMT_ERR.FILE_INVALID_NAME,    MGMT_ERR.EINVAL),
    Trouble.MISSING: (TetradCode.MISSING,    FS_MGMT_ERR.FILE_NOT_FOUND,       MGMT_ERR.ENOENT),
    Trouble.SHIPPED: (TetradCode.SHIPPED,    FS_MGMT_ERR.READ_ONLY_FILESYSTEM, MGMT_ERR.EACCESSDENIED),
    Trouble.TAKEN:   (TetradCode.TAKEN,      FS_MGMT_ERR.FILE_WRITE_FAILED,    MGMT_ERR.EINVAL),
    Trouble.FULL:    (TetradCode.FULL,       FS_MGMT_ERR.FILE_WRITE_FAILED,    MGMT_ERR.ENOMEM),
    Trouble.OFFSET:  (TetradCode.BAD_OFFSET, FS_MGMT_ERR.FILE_OFFSET_NOT_VALID, MGMT_ERR.EINVAL),
    Trouble.DAMAGED: (TetradCode.DAMAGED,    FS_MGMT_ERR.FILE_WRITE_FAILED,    MGMT_ERR.ECORRUPT),
    Trouble.DISK:    (TetradCode.DISK,       FS_MGMT_ERR.FILE_WRITE_FAILED,    MGMT_ERR.ENOMEM),
}


def smp_error(error: StoreError, group: int) -> SmpError:
    ours, of_files, before = FAILURES[error.trouble]
    return SmpError(of_files if group == FILE else ours, str(error), group, before)


def remote_path(name: str) -> str:
    """Where a preset lies on the serial line."""
    return f"{FOLDER}{name}{SUFFIX}"


def preset_name(path: str) -> str:
    """The preset's name in such a path. Raises StoreError."""
    if not (path.startswith(FOLDER) and path.endswith(SUFFIX)):
        raise StoreError(Trouble.NAME, f"{path[:80]!r} is no preset: they are {remote_path('<name>')}")
    return path[len(FOLDER):-len(SUFFIX)]
