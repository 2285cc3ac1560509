import os
import shutil
from pathlib import Path

import pytest

from device.box import settings
from device.service import setup

needs_systemd = pytest.mark.skipif(not (shutil.which("systemctl") and shutil.which("systemd-sysusers")),
                                   reason="there is no systemd: apt-get install systemd")


def tree(root: Path) -> dict[str, object]:
    """Every path below `root`: a file's mode and bytes, a link's target."""
    return {str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else
            (path.stat().st_mode, path.read_bytes() if path.is_file() else b"") for path in sorted(root.rglob("*"))}


def step(name: str, root: Path) -> None:
    assert setup.main([name, "--root", str(root)]) == 0


def install(root: Path) -> None:
    step("place", root)
    step("configure", root)


def card(root: Path) -> Path:
    (root / "boot/firmware").mkdir(parents=True)
    (root / "boot/firmware/config.txt").write_text("dtparam=audio=on\n")
    (root / "boot/firmware/cmdline.txt").write_text("console=serial0,115200 root=/dev/mmcblk0p2\n")
    return root


@needs_systemd
def test_installing_twice_changes_nothing(tmp_path, capsys):
    install(card(tmp_path))
    assert "start the machine anew" in capsys.readouterr().out
    once = tree(tmp_path)
    assert {f"{file.target}/{file.source}" for file in setup.FILES} < set(once)
    install(tmp_path)
    assert tree(tmp_path) == once
    assert capsys.readouterr().out == "Tetrad is installed\n"


@needs_systemd
def test_the_user_is_made_and_the_service_starts_by_itself(tmp_path):
    install(tmp_path)
    assert "tetrad" in (tmp_path / "etc/passwd").read_text()
    lines = (tmp_path / "etc/group").read_text().splitlines()
    groups = {line.split(":")[0] for line in lines if line.endswith(":tetrad")}
    assert groups == {"audio", "dialout", "gpio", "i2c", "plugdev", "spi"}
    wanted = {path.name for path in (tmp_path / "etc/systemd/system/multi-user.target.wants").iterdir()}
    assert wanted == set(setup.ENABLED)


@needs_systemd
def test_removing_gives_back_what_was_edited_and_leaves_presets(tmp_path):
    before = tree(card(tmp_path))
    install(tmp_path)
    preset = tmp_path / "var/lib/tetrad/presets/mine.tetrad"
    preset.parent.mkdir(parents=True)
    preset.write_bytes(b"mine")
    for name in ("unconfigure", "unplace") * 2:
        step(name, tmp_path)
    after = tree(tmp_path)
    assert after["var/lib/tetrad/presets/mine.tetrad"][1] == b"mine"
    assert {path: after[path] for path in before} == before
    left = {path for path in set(after) - set(before) if not (tmp_path / path).is_dir()}
    assert not [path for path in left if not path.startswith(("etc/passwd", "etc/shadow", "etc/group", "etc/gshadow",
                                                              "etc/.pwd.lock", "var/lib/tetrad"))], left


def test_settings_that_were_changed_are_neither_overwritten_nor_removed(tmp_path):
    step("place", tmp_path)
    path = tmp_path / setup.SETTINGS
    assert path.read_text() == settings.as_file(settings.Settings())
    assert path.stat().st_mode & 0o777 == 0o644
    path.write_text("[audio]\nperiods = 2\n")
    step("place", tmp_path)
    step("unplace", tmp_path)
    assert path.read_text() == "[audio]\nperiods = 2\n"
    path.write_text(settings.as_file(settings.Settings()))
    step("unplace", tmp_path)
    assert not path.exists()


def test_files_are_everybodys_to_read_whatever_the_mask(tmp_path):
    mask = os.umask(0o077)
    try:
        step("place", tmp_path)
    finally:
        os.umask(mask)
    modes = {file.source: (tmp_path / file.target / file.source).stat().st_mode & 0o777 for file in setup.FILES}
    assert modes.pop("gadget") == 0o755
    assert set(modes.values()) == {0o644}


def test_a_command_of_somebody_else_is_not_removed(tmp_path):
    step("place", tmp_path)
    assert os.readlink(tmp_path / setup.LINK) == setup.COMMAND
    (tmp_path / setup.LINK).unlink()
    (tmp_path / setup.LINK).write_text("#!/bin/sh\n")
    step("unplace", tmp_path)
    assert (tmp_path / setup.LINK).exists()


@needs_systemd
def test_what_fails_is_told_in_a_line(tmp_path, capsys):
    step("place", tmp_path)
    (tmp_path / "usr/lib/systemd/system/tetrad.service").write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "etc/systemd").mkdir(exist_ok=True)
    (tmp_path / "etc/systemd/system").write_text("in the way")
    assert setup.main(["configure", "--root", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("tetrad: systemctl ")
    assert told.count("\n") == 1


def test_without_systemd_it_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert setup.main(["configure", "--root", str(tmp_path)]) == 1
    assert "systemd-sysusers is not there: the box needs systemd" in capsys.readouterr().err
