"""The Debian package, and install.sh into another system's folder. What needs whole systems is marked full: 7 min."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from device.service import environment, package
from device.service.environment import MACHINES, RELEASES
from device.service.setup import HERE

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb")
needs_a_system = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("debootstrap") is None,
                                    reason="needs root and debootstrap")


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-2_000:]} {done.stderr[-2_000:]}"
    return done.stdout


@pytest.fixture
def small(monkeypatch):
    """A package whose environment is one file."""
    def make(root, release, architecture):
        (root / "opt/tetrad/bin").mkdir(parents=True)
        (root / "opt/tetrad/bin/tetrad").write_text(f"{release.name} {architecture}")
        (root / "opt/tetrad/bin/tetrad").chmod(0o700)
    monkeypatch.setattr(environment, "make", make)


@needs_dpkg
def test_a_package_says_what_it_is_and_what_it_needs(tmp_path, small):
    for release, architecture, python in (("bookworm", "arm64", "3.11"), ("trixie", "amd64", "3.13")):
        built = package.build(tmp_path, RELEASES[release], architecture)
        number = RELEASES[release].number
        assert built.name == f"tetrad_0.1.0+deb{number}_{architecture}.deb"
        fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", built).splitlines() if line[0] != " ")
        assert (fields["Version"], fields["Architecture"]) == (f"0.1.0+deb{number}", architecture)
        assert f"python3 (>= {python}), python3 (<< 3.{int(python[2:]) + 1})" in fields["Depends"]
        assert fields.get("Recommends") == (None if release == "bookworm" else "python3-rpi-lgpio")
    assert run("dpkg", "--compare-versions", "0.1.0+deb12", "lt", "0.1.0+deb13") == ""  # an upgraded Debian's is newer


@needs_dpkg
def test_a_packages_files_are_roots_and_everybodys_to_read(tmp_path, small):
    mask = os.umask(0o077)
    try:
        built = package.build(tmp_path, RELEASES["bookworm"], "arm64")
    finally:
        os.umask(mask)
    lines = [line.split() for line in run("dpkg-deb", "-c", built).splitlines()]
    assert {line[1] for line in lines} == {"root/root"}
    modes = {line[5]: line[0] for line in lines}
    assert modes["./opt/tetrad/bin/tetrad"] == "-rwxr-xr-x"
    assert modes["./usr/lib/systemd/system/tetrad.service"] == "-rw-r--r--"
    assert modes["./"] == modes["./etc/"] == "drwxr-xr-x"
    assert run("dpkg-deb", "-I", built, "conffiles") == "/etc/tetrad.toml\n"
    assert "./etc/tetrad.toml" in modes


@needs_dpkg
def test_the_same_checkout_gives_the_same_package(tmp_path, small):
    first = package.build(tmp_path / "a", RELEASES["bookworm"], "arm64").read_bytes()
    time.sleep(1.1)  # files' times count in seconds
    assert package.build(tmp_path / "b", RELEASES["bookworm"], "arm64").read_bytes() == first


@pytest.mark.parametrize("name", package.SCRIPTS)
def test_a_packages_scripts_are_clean(tmp_path, name):
    (tmp_path / name).write_text(package.SCRIPTS[name])
    run(*(("shellcheck",) if shutil.which("shellcheck") else ("sh", "-n")), tmp_path / name)


def test_what_cannot_be_built_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    assert package.main(["--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture(scope="module")
def bookworm(tmp_path_factory) -> Iterator[Path]:
    """Debian 12 as it is installed at least, with a Pi's boot files."""
    root = tmp_path_factory.mktemp("bookworm")
    root.chmod(0o755)
    needed = [*RELEASES["bookworm"].of_debian.values(), "python3", "libasound2", "libgomp1", "libstdc++6", "kmod",
              "systemd", "udev"]
    run("debootstrap", "--variant=minbase", f"--include={','.join(needed)}", "bookworm", root)
    (root / "boot/firmware").mkdir()
    (root / "boot/firmware/config.txt").write_text("dtparam=audio=on\n")
    (root / "boot/firmware/cmdline.txt").write_text("console=serial0,115200 console=tty1 root=PARTUUID=1-02\n")
    np.save(root / "tmp/embedding.npy", np.random.default_rng(0).normal(size=(125, 16)).astype(np.float32))
    yield root
    shutil.rmtree(root)


def state(root: Path) -> dict[str, str]:
    """What is in a system, but for lists, logs and what Python compiled."""
    passing = ("var/cache", "var/log", "var/lib/dpkg", "var/lib/apt", "dev", "proc", "sys", "run", "tmp")
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if not name.startswith(passing) and "__pycache__" not in name and (path.is_symlink() or path.is_file()):
            found[name] = (os.readlink(path) if path.is_symlink()
                           else f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return found


def assert_it_plays(root: Path) -> None:
    assert "decode" in run("chroot", root, "tetrad", "--help")
    told = run("chroot", root, "tetrad", "decode", "/tmp/embedding.npy", "--pitch", "60", "--out", "/tmp/out.wav",
               "--json")
    assert '"seconds": 4.0' in told
    (root / "tmp/out.wav").unlink()
    run("chroot", root, "/opt/tetrad/bin/python3", "-sPB", "-c", "import device._alsa, RPi, spidev, luma.oled")
    assert "tetrad" in run("chroot", root, "id", "-nG", "tetrad")


def assert_what_is_left(root: Path, before: dict[str, str]) -> None:
    """After removal: the system as it was, but for the user, and the presets."""
    after = state(root)
    assert after.pop("var/lib/tetrad/presets/mine.tetrad")
    accounts = {name for name in after if name.startswith(("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow",
                                                           "etc/subuid", "etc/subgid", "etc/.pwd.lock"))}
    assert {name: told for name, told in after.items() if name not in accounts} == {
        name: told for name, told in before.items() if name not in accounts}


@pytest.mark.full
@needs_a_system
def test_the_package_makes_a_tetrad_of_bookworm_and_leaves_it_as_it_was(bookworm, tmp_path):
    architecture = run("dpkg", "--print-architecture").strip()
    built = package.build(tmp_path, RELEASES["bookworm"], architecture)
    shutil.copy(built, bookworm / "tmp")
    apt = ("chroot", bookworm, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "--no-install-recommends")
    before = state(bookworm)
    run(*apt, "install", f"/tmp/{built.name}")
    assert_it_plays(bookworm)
    once = state(bookworm)
    assert "dtparam=spi=on" in (bookworm / "boot/firmware/config.txt").read_text()
    run(*apt, "install", "--reinstall", f"/tmp/{built.name}")
    assert state(bookworm) == once
    preset = bookworm / "var/lib/tetrad/presets/mine.tetrad"
    preset.parent.mkdir(parents=True)
    preset.write_bytes(b"mine")
    run(*apt, "remove", "tetrad")
    left = state(bookworm)
    assert "etc/tetrad.toml" in left
    run(*apt, "purge", "tetrad")
    assert_what_is_left(bookworm, before)
    assert not (bookworm / "opt/tetrad").exists()
    shutil.rmtree(bookworm / "var/lib/tetrad")


@pytest.mark.full
@needs_a_system
def test_the_installer_makes_a_tetrad_of_a_system_in_a_folder(bookworm):
    before = state(bookworm)
    run("sh", HERE / "install.sh", "--root", bookworm)
    assert_it_plays(bookworm)
    once = state(bookworm)
    run("sh", HERE / "install.sh", "--root", bookworm)
    assert state(bookworm) == once
    preset = bookworm / "var/lib/tetrad/presets/mine.tetrad"
    preset.parent.mkdir(parents=True)
    preset.write_bytes(b"mine")
    run("sh", HERE / "install.sh", "--uninstall", "--root", bookworm)
    assert_what_is_left(bookworm, before)
    shutil.rmtree(bookworm / "var/lib/tetrad")


@pytest.mark.full
@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="needs gcc-aarch64-linux-gnu")
@pytest.mark.parametrize("release", RELEASES)
def test_a_package_for_the_pi_is_built_on_a_pc(tmp_path, release):
    built = package.build(tmp_path, RELEASES[release], "arm64")
    run("dpkg-deb", "-x", built, tmp_path / "tree")
    site = tmp_path / "tree/opt/tetrad/lib" / f"python{RELEASES[release].python}" / "site-packages"
    programs = {path.relative_to(site): path.read_bytes()[18] for path in site.rglob("*.so*")}
    assert set(programs.values()) == {MACHINES["arm64"][1]}
    assert {Path("device/_alsa.abi3.so"), Path("device/_engine.abi3.so")} < set(programs)
    assert any("numpy" in str(path) for path in programs)
    version = RELEASES[release].python.replace(".", "")
    tagged = {path.name.split(".")[1] for path in programs if ".cpython-" in path.name}
    assert {tag for tag in tagged if "cpython" in tag} == {f"cpython-{version}-aarch64-linux-gnu"}
