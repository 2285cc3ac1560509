"""Makes /opt/tetrad, the box's own Python environment, for this machine or another, out of a checkout.

    python -m device.service.environment [--root DIR] [--needs]

A virtual environment is a pyvenv.cfg, a link to the system's Python, and packages: it is written for any Debian release
and processor, without running it. Packages come as wheels; the few that have none come from the system, whose packages
the environment sees behind its own. rpi-lgpio, not RPi.GPIO: it runs on a Pi 5, and on the older ones as well; and
whichever of them the system has stays as it is.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from device.errors import TetradError

CHECKOUT = Path(__file__).parents[2]
SOURCES = ("device", "enclosure", "quantize", "train", "tetrad.py", "pyproject.toml", "README.md", "LICENSE")
PLACE = "opt/tetrad"

COMMAND = """#!/opt/tetrad/bin/python3 -sP
import sys

from tetrad import main

if __name__ == "__main__":  # decoding processes read this file, too
    sys.exit(main())
"""


@dataclass(frozen=True)
class Release:
    """A Debian release, and with it Raspberry Pi OS: what it is built from, and which packages have no wheel for it."""

    name: str
    number: int
    python: str
    glibc: int  # 2.x: the newest manylinux that runs
    of_debian: Mapping[str, str]  # what PyPI calls it -> what Debian does
    of_raspberry: Mapping[str, str]  # what only Raspberry Pi OS has


_SOURCE_ONLY = {"crcmod": "python3-crcmod", "spidev": "python3-spidev"}
RELEASES = {release.name: release for release in (
    Release("bookworm", 12, "3.11", 36, _SOURCE_ONLY, {}),
    Release("trixie", 13, "3.13", 41, _SOURCE_ONLY, {"lgpio": "python3-lgpio", "rpi-lgpio": "python3-rpi-lgpio"}),
)}
# Debian's name of a processor -> the kernel's, and ELF's number for it
MACHINES = {"amd64": ("x86_64", 62), "arm64": ("aarch64", 183)}


def make(root: Path, release: Release, architecture: str) -> None:
    """Writes the environment below `root`, in place of one that is there. Raises TetradError: what lacks."""
    place = root / PLACE
    new, old = place.with_name("tetrad.new"), place.with_name("tetrad.old")
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        _fill(new, release, architecture)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _fill(place: Path, release: Release, architecture: str) -> None:
    packages = place / "lib" / f"python{release.python}" / "site-packages"
    packages.mkdir(parents=True)
    (place / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = true\n"
                                      f"version = {release.python}\n")
    (place / "bin").mkdir()
    (place / "bin" / "python3").symlink_to("/usr/bin/python3")
    with tempfile.TemporaryDirectory() as folder:
        own = own_wheel(Path(folder), architecture)
        machine = MACHINES[architecture][0]
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(17, release.glibc + 1)]
        platforms += [f"manylinux2014_{machine}", f"linux_{machine}"]
        _pip("install", "--no-deps", "--no-compile", "--only-binary=:all:", "--implementation=cp",
             f"--python-version={release.python}", *(f"--platform={each}" for each in platforms),
             f"--target={packages}", str(own), *_requirements(release))
    shutil.rmtree(packages / "bin", ignore_errors=True)  # commands of others
    for note in packages.glob("*.dist-info/direct_url.json"):  # where this machine had the wheel
        note.unlink()
    for record in packages.glob("*.dist-info/RECORD"):  # without what was just removed
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if (packages / line.split(",")[0]).exists()))
    (place / "bin" / "tetrad").write_text(COMMAND)
    (place / "bin" / "tetrad").chmod(0o755)


def _requirements(release: Release) -> list[str]:
    """All packages that the box needs, as name==version, but for those that the system has."""
    told = json.loads(_pip("install", "--dry-run", "--ignore-installed", "--report=-", f"{CHECKOUT}[pi]"))
    packages = (each["metadata"] for each in told["install"])
    found = {package["name"].lower().replace("_", "-"): package["version"] for package in packages}
    left_out = {"tetrad", *release.of_debian, *release.of_raspberry}
    return [f"{name}=={version}" for name, version in sorted(found.items()) if name not in left_out]


def own_wheel(folder: Path, architecture: str) -> Path:
    """The checkout as a wheel in `folder`, its C compiled for `architecture`."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:  # a copy: what was built in the checkout stays out of it, and the checkout as it is
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(CHECKOUT / name, source)
    machine, number = MACHINES[architecture]
    _pip("wheel", "--no-deps", f"--wheel-dir={folder}", str(source), **_compiler(folder, machine))
    wheel = next(folder.glob("tetrad-*.whl"))
    with zipfile.ZipFile(wheel) as members:
        for name in ("device/_engine.abi3.so", "device/_alsa.abi3.so"):
            if name not in members.namelist():  # setuptools leaves out what may be left out
                raise TetradError(f"the engine was built without {name}: sudo apt-get install libasound2-dev")
            built_for = int.from_bytes(members.read(name)[18:20], "little")
            if built_for != number:
                raise TetradError(f"{name} was built for ELF machine {built_for}, not for {architecture} ({number})")
    return wheel


def _compiler(folder: Path, machine: str) -> dict[str, str]:
    """The environment variables for setuptools that have C compiled for `machine`, without what tells where it was."""
    if machine == platform.machine():
        return {"CFLAGS": "-g0"}
    compiler = f"{machine}-linux-gnu-gcc"
    if shutil.which(compiler) is None:
        raise TetradError(f"there is no {compiler}: sudo apt-get install gcc-{machine.replace('_', '-')}-linux-gnu")
    system = _foreign_headers(folder / "foreign", next(name for name, (each, _) in MACHINES.items() if each == machine))
    return {"CC": compiler, "LDSHARED": f"{compiler} -shared", "_PYTHON_HOST_PLATFORM": f"linux-{machine}",
            "CFLAGS": f"-g0 -I{system}/usr/include", "LDFLAGS": f"-L{system}/usr/lib/{machine}-linux-gnu"}


def _foreign_headers(folder: Path, architecture: str) -> Path:
    """ALSA's library and the headers of ALSA and Python for another processor, from this system's Debian."""
    state = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True)
    options = [f"-oAPT::Architecture={architecture}", f"-oAPT::Architectures={architecture}",
               f"-oDir::State::Lists={state}/lists", f"-oDir::Cache={state}/cache", "-oDir::State::Status=/dev/null",
               "-oAPT::Sandbox::User=root", "-qq"]
    _run(["apt-get", *options, "update"])
    told = _run(["apt-cache", *options, "show", "libasound2-dev"])
    library = re.search(r"^Depends:.*?(libasound2\w*)", told, re.MULTILINE)
    if library is None:
        raise TetradError(f"Debian's sources here have no libasound2-dev for {architecture}: see /etc/apt/sources.list")
    packages = ["libasound2-dev", library[1]]
    if sysconfig.get_path("include").startswith("/usr/include"):  # Debian's Python.h asks for the processor's
        packages.append(f"libpython3.{sys.version_info.minor}-dev")
    _run(["apt-get", *options, "download", *packages], cwd=folder)
    for package in folder.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(folder)])
    return folder


def _pip(*arguments: str, **variables: str) -> str:
    return _run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments], variables)


def _run(command: Sequence[str], variables: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **(variables or {})})
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it says nothing"]
        why = next((line for line in lines if line.startswith(("ERROR", "E:"))), lines[-1])
        raise TetradError(f"{' '.join(command[:5])} …: {why}")
    return done.stdout


def target(root: Path) -> tuple[Release, str]:
    """The release and the processor of the system below `root`; this one's, where the tree is empty as yet."""
    told = next((path.read_text() for path in (root / "etc/os-release", root / "usr/lib/os-release",
                                               Path("/etc/os-release")) if path.is_file()), "")
    name = re.search(r"^VERSION_CODENAME=\"?(\w+)", told, re.MULTILINE)
    release = RELEASES.get(name[1] if name else "")
    if release is None:
        raise TetradError(f"Debian {name[1] if name else 'of an unknown name'} is not known here: use "
                          f"{' or '.join(RELEASES)}, or Raspberry Pi OS of that name")
    number = next((number for machine, number in MACHINES.values() if machine == platform.machine()), 0)
    python = root / "usr/bin" / f"python{release.python}"
    if python.is_file():
        with open(python, "rb") as program:
            head = program.read(20)
        number = int.from_bytes(head[18:20], "little")
    architecture = next((name for name, (_, elf) in MACHINES.items() if elf == number), None)
    if architecture is None:
        raise TetradError(f"{python} is for another processor than {' or '.join(MACHINES)}: use a 64-bit system")
    return release, architecture


def exit_code(work: Callable[[], object]) -> int:
    """Runs a command's work: 0, or 1 and one line that says why."""
    try:
        work()
    except TetradError as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"tetrad: {error.filename}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="device.service.environment")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="the system's root folder (/)")
    parser.add_argument("--needs", action="store_true", help="only print the system's packages that it needs")
    args = parser.parse_args(argv)

    def work() -> None:
        release, architecture = target(args.root)
        if args.needs:
            print(*sorted([*release.of_debian.values(), *release.of_raspberry.values()]))
        else:
            make(args.root, release, architecture)
    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
