"""install.sh where it must refuse; where it installs is in test_service_package."""

import os
import subprocess
from pathlib import Path

import pytest

from device.service import environment
from device.service.environment import RELEASES
from device.service.setup import HERE


def install(tmp_path: Path, *arguments: str | Path, **commands: str) -> subprocess.CompletedProcess[str]:
    """Runs it with other commands in place of the system's."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in commands.items():
        (folder / name.replace("_", "-")).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name.replace("_", "-")).chmod(0o755)
    return subprocess.run(["sh", HERE / "install.sh", *arguments], capture_output=True, text=True,
                          env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})


ROOT, ARM = "echo 0", "echo arm64"


@pytest.mark.parametrize(("commands", "why"), [
    ({"id": "echo 1000"}, "run it by sudo"),
    ({"id": ROOT, "python3": "exit 1"}, "needs Python 3.11"),
    ({"id": ROOT, "dpkg-query": "echo installed"}, "the package tetrad is installed"),
    ({"id": ROOT, "dpkg": "echo armhf"}, "needs the 64-bit Raspberry Pi OS; this is armhf"),
    ({"id": ROOT, "dpkg": ARM}, "this is no Raspberry Pi")])
def test_it_says_in_a_line_why_it_does_not_install(tmp_path, commands, why):
    if why.endswith("Pi") and Path("/proc/device-tree/model").exists():
        pytest.skip("this is one")
    done = install(tmp_path, **commands)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.startswith("install.sh: ")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_told_before_anything_is_written(tmp_path):
    (tmp_path / "card").mkdir()
    done = install(tmp_path, "--root", tmp_path / "card", id=ROOT, df="printf 'Filesystem\\nx 1000 900 99 90%% /\\n'")
    assert done.stderr == f"install.sh: needs 700 MB on the disk of {tmp_path}/card, and 99 MB are free\n"
    assert list((tmp_path / "card").iterdir()) == []


def test_what_a_system_in_a_folder_lacks_is_named(tmp_path):
    (tmp_path / "card/var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "card/var/lib/dpkg/status").touch()
    (tmp_path / "card/etc").mkdir()
    (tmp_path / "card/etc/os-release").write_text("VERSION_CODENAME=bookworm\n")
    done = install(tmp_path, "--root", tmp_path / "card", id=ROOT)
    assert "lacks python3-crcmod python3-spidev" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--foo"], ["--root"], ["--root", "/no/such/folder"]])
def test_bad_use_is_told(tmp_path, arguments):
    done = install(tmp_path, *arguments, id=ROOT)
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1


def test_removing_what_was_never_installed_does_no_harm(tmp_path):
    card = tmp_path / "card"
    (card / "opt/other").mkdir(parents=True)
    done = install(tmp_path, "--uninstall", "--root", card, id=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Tetrad is removed; presets are still in {card}/var/lib/tetrad\n"
    assert (card / "opt/other").is_dir()


def system(root: Path, release: str, elf: bytes = b"") -> Path:
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text(f'ID=debian\nVERSION_CODENAME="{release}"\n')
    if elf:
        (root / "usr/bin").mkdir(parents=True)
        (root / f"usr/bin/python{RELEASES[release].python}").write_bytes(elf)
    return root


def test_the_systems_release_and_processor_are_seen_from_outside(tmp_path):
    arm = b"\x7fELF\x02\x01\x01" + bytes(11) + (183).to_bytes(2, "little")
    assert environment.target(system(tmp_path / "a", "bookworm", arm)) == (RELEASES["bookworm"], "arm64")
    pc = b"\x7fELF\x02\x01\x01" + bytes(11) + (62).to_bytes(2, "little")
    assert environment.target(system(tmp_path / "b", "trixie", pc)) == (RELEASES["trixie"], "amd64")


@pytest.mark.parametrize(("release", "elf", "why"), [
    ("bullseye", b"", "Debian bullseye is not known here: use bookworm or trixie"),
    ("bookworm", b"\x7fELF\x01\x01\x01" + bytes(11) + (40).to_bytes(2, "little"), "use a 64-bit system")])
def test_other_systems_are_refused(tmp_path, capsys, release, elf, why):
    assert environment.main(["--needs", "--root", str(system(tmp_path / "a", release, elf))]) == 1
    assert why in capsys.readouterr().err


def test_an_environment_that_could_not_be_made_leaves_the_one_before(tmp_path, monkeypatch, capsys):
    old = tmp_path / environment.PLACE / "bin"
    old.mkdir(parents=True)
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path / "no checkout")
    assert environment.main(["--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in (tmp_path / "opt").iterdir()] == ["tetrad"]
    assert old.is_dir()
