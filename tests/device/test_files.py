import os
import stat

import pytest

from device import files
from device.errors import TetradError


def test_the_old_content_stands_until_the_new_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with files.atomic(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), files.atomic(path) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_data_is_on_the_disk_before_the_name_and_the_name_before_the_return(tmp_path, monkeypatch):
    events = []
    sync, replace = os.fsync, os.replace

    def record_sync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else os.fstat(descriptor).st_size)
        sync(descriptor)

    def record_replace(source, target):
        events.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(os, "replace", record_replace)
    with files.atomic(tmp_path / "a.bin") as file:
        file.write(bytes(1_000))
    assert events == [1_000, "name", "folder"]


def test_a_written_file_is_readable_by_those_whom_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        with files.atomic(tmp_path / "a.bin") as file:
            file.write(b"")
        assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TetradError, match=r"none/a\.bin: No such file"), files.atomic(tmp_path / "none" / "a.bin"):
        pass


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1", None, 10**400, -0.1, 1.1])
def test_a_number_is_one_in_its_range(value):
    with pytest.raises(TetradError, match="level"):
        files.number(value, 0, 1, "level")
    assert files.number(0.5, 0, 1, "level") == 0.5


def test_a_link_is_followed_and_stays_a_link(tmp_path):
    (tmp_path / "there").write_bytes(b"old")
    (tmp_path / "link").symlink_to("there")
    with files.atomic(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_bytes() == b"new"


def test_a_device_or_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TetradError, match="pipe: it is no plain file"), files.atomic(tmp_path / "pipe"):
        pass
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(TetradError, match=r"make the folder .*nowhere"), files.atomic(tmp_path / "nowhere" / "a"):
        pass


def test_a_folder_is_locked_until_it_is_let_go(tmp_path):
    held = files.lock_folder(tmp_path, "box")
    with pytest.raises(TetradError, match="is another box's, which runs"):
        files.lock_folder(tmp_path, "box")
    os.close(held)
    os.close(files.lock_folder(tmp_path, "box"))
