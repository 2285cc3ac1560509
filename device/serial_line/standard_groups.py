"""SMP's groups 0 and 10: is somebody there, how long may a message be, and what else is understood."""

from smp.enumeration_management import ENUM_MGMT_ERR
from smp.error import MGMT_ERR

from device.serial_line.commands import COMMANDS, ENUM, GROUPS
from device.serial_line.messages import Body, SmpError


class OsGroup:
    """`buffer_bytes` is the longest message."""

    def __init__(self, buffer_bytes: int, can_reset: bool) -> None:
        self._buffer_bytes, self._can_reset = buffer_bytes, can_reset
        self.reset_asked = False

    async def echo(self, text: str) -> Body:
        return {"r": text}

    async def params(self) -> Body:
        return {"buf_size": self._buffer_bytes, "buf_count": 1}

    async def reset(self) -> Body:
        if not self._can_reset:
            raise SmpError(MGMT_ERR.ENOTSUP, "this box cannot be reset from here")
        self.reset_asked = True
        return {}


class EnumGroup:
    async def group_count(self) -> Body:
        return {"count": len(GROUPS)}

    async def group_list(self) -> Body:
        return {"groups": [int(group) for group in GROUPS]}

    async def group_at(self, index: int | None) -> Body:
        groups = list(GROUPS)
        place = index or 0
        if place >= len(groups):
            raise SmpError(ENUM_MGMT_ERR.ENUM_MGMT_ERR_INDEX_TOO_LARGE, f"there are {len(groups)} groups", ENUM,
                           MGMT_ERR.EINVAL)
        return {"group": int(groups[place]), **({"end": True} if place == len(groups) - 1 else {})}

    async def group_details(self, wanted: list | None) -> Body:
        return {"groups": [{"group": int(group), "name": name,
                            "handlers": len({command.id for command in COMMANDS if command.group == group})}
                           for group, name in GROUPS.items() if wanted is None or group in wanted]}
