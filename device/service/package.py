"""Builds the Debian package: one file that `sudo apt install ./tetrad_….deb` makes a Tetrad of a Raspberry Pi with.

    python -m device.service.package [--architecture arm64|amd64] [--release bookworm|trixie] [--out DIR]

It holds the whole environment (environment.py), so a Pi needs neither a compiler nor PyPI, and the system's package
manager upgrades and removes it. The same checkout and the same wheels give the same bytes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from device import files
from device.errors import TetradError
from device.service import environment, setup
from device.service.environment import CHECKOUT, MACHINES, RELEASES, Release, exit_code

PYTHON = "/opt/tetrad/bin/python3 -sPB"

CONTROL = """Package: tetrad
Version: {version}
Architecture: {architecture}
Maintainer: Tetrad contributors <tetrad@localhost>
Section: sound
Priority: optional
Installed-Size: {size_kib}
Depends: python3 (>= {python}), python3 (<< {next_python}), {of_debian}, libasound2 | libasound2t64, libc6, libgomp1,
 libstdc++6, kmod, systemd, udev
{recommends}Description: synthesizer that plays between four instruments
 Four instruments sit at the corners of a square. Knobs move between them, a
 keyboard plays the result, decoded by a neural network on the board itself.
"""

SCRIPTS = {
    "postinst": f"""#!/bin/sh
set -e
if [ "$1" = configure ]; then
    {PYTHON} -m compileall -q /opt/tetrad/lib || true
    {PYTHON} -m device.service.setup configure
fi
""",
    "prerm": f"""#!/bin/sh
set -e
if [ "$1" = remove ]; then
    {PYTHON} -m device.service.setup unconfigure
fi
find /opt/tetrad -name __pycache__ -prune -exec rm -rf {{}} +
""",
    "postrm": """#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
""",
}


def build(out: Path, release: Release, architecture: str) -> Path:
    """The package's path, in the folder `out`. Raises TetradError where something is missing."""
    version = f"{tomllib.loads((CHECKOUT / 'pyproject.toml').read_text())['project']['version']}+deb{release.number}"
    files.make_folder(out)
    package = out / f"tetrad_{version}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        tree.chmod(0o755)
        environment.make(tree, release, architecture)
        setup.place(tree)
        notice = tree / "usr/share/doc/tetrad/copyright"
        notice.parent.mkdir(parents=True)
        shutil.copy(CHECKOUT / "LICENSE", notice)
        _describe(tree, release, architecture, version)
        # Root's umask is not what those who install it shall have
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", tree], check=True)
        built = Path(folder) / package.name
        _archive(tree, built)
        with open(built, "rb") as data, files.atomic(package) as file:
            shutil.copyfileobj(data, file)
    return package


def _describe(tree: Path, release: Release, architecture: str, version: str) -> None:
    size_kib = sum(path.lstat().st_size for path in tree.rglob("*")) // 1024
    major, minor = release.python.split(".")
    notes = tree / "DEBIAN"
    notes.mkdir()
    (notes / "control").write_text(CONTROL.format(
        version=version, architecture=architecture, size_kib=size_kib, python=release.python,
        next_python=f"{major}.{int(minor) + 1}", of_debian=", ".join(sorted(release.of_debian.values())),
        recommends="".join(f"Recommends: {name}\n" for name in release.of_raspberry.values() if "rpi" in name)))
    (notes / "conffiles").write_text(f"/{setup.SETTINGS}\n")
    for name, text in SCRIPTS.items():
        (notes / name).write_text(text)
        (notes / name).chmod(0o755)


def _archive(tree: Path, package: Path) -> None:
    """Files are as old as the commit, else as the checkout's newest: not as this run."""
    told = subprocess.run(["git", "-C", CHECKOUT, "log", "-1", "--format=%ct"], capture_output=True, text=True)
    made_s = told.stdout.strip() or str(int((CHECKOUT / "pyproject.toml").stat().st_mtime))
    done = subprocess.run(["dpkg-deb", "--root-owner-group", "-Zzstd", "--build", tree, package], capture_output=True,
                          text=True, env={"SOURCE_DATE_EPOCH": made_s, **os.environ})
    if done.returncode:
        raise TetradError(f"dpkg-deb: {done.stderr.strip()}")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="device.service.package")
    parser.add_argument("--architecture", choices=MACHINES, default="arm64", help="(arm64)")
    parser.add_argument("--release", choices=RELEASES, default="bookworm", help="(bookworm)")
    parser.add_argument("--out", type=Path, default=Path("dist"), metavar="DIR", help="the package's folder (dist)")
    args = parser.parse_args(argv)
    return exit_code(lambda: print(build(args.out, RELEASES[args.release], args.architecture)))


if __name__ == "__main__":
    sys.exit(main())
