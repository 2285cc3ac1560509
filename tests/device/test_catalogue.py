"""The presets' names and instruments, as the box knows them without waiting."""

import asyncio

from small_presets import CORNERS, small_preset

from device.box.catalogue import Catalogue
from device.box.hands import Choice
from device.box.state import CornerChoice
from device.box.store import Store


def looked(catalogue: Catalogue) -> list[Choice]:
    async def look() -> None:
        catalogue.changed()
        running = asyncio.create_task(catalogue.run())
        before = catalogue.choices
        while catalogue.choices is before:
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(look())
    return catalogue.choices


def test_all_instruments_of_all_presets_are_listed_once_and_what_is_damaged_is_not(tmp_path):
    store = Store(tmp_path)
    catalogue = Catalogue(store)
    assert catalogue.names == store.names()
    shipped = looked(catalogue)
    corners = [corner for name in store.names() for corner in store.read(name).corners]
    assert len(shipped) == len({(corner.name, corner.values.tobytes()) for corner in corners}) < len(corners)
    store.add("copy", store.data("first"))
    assert looked(catalogue) == shipped
    (tmp_path / "presets" / "bad.tetrad").write_bytes(b"bad")
    assert looked(Catalogue(Store(tmp_path))) == shipped
    store.add("own", small_preset())
    assert looked(catalogue)[len(shipped):] == [
        Choice(name, CornerChoice("own", number)) for number, name in enumerate(CORNERS)]
    assert catalogue.names[-1] == "own"


def test_only_what_is_new_is_read(tmp_path, monkeypatch):
    store = Store(tmp_path)
    catalogue = Catalogue(store)
    looked(catalogue)
    read, wanted = [], store.read
    monkeypatch.setattr(store, "read", lambda name: read.append(name) or wanted(name))
    store.add("own", small_preset())
    looked(catalogue)
    assert read == ["own"]
    store.add("own", small_preset(1))
    looked(catalogue)
    assert read == ["own", "own"]
