"""Debian for a Raspberry Pi's processor, in a folder: this machine's kernel runs its programs by QEMU (binfmt_misc).

The folder is made once and kept under build/rig/ (or in the folder that TETRAD_RIG names) as arm-*, some 600 MB, under
a digest of what it is made of: Debian 12, the box's Python environment as `install.sh --root` makes it, and what tests
need. The checkout is then installed there as a wheel, cross-built where it has changed. What runs there sees /share, a
folder of the caller's, and /checkout, what the tests read of the checkout; its mounts are its own and end with it.

    python tests/rig/arm.py       makes it, where it is not there yet, and prints its folder
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from image import ROOT, SUITE, RigError, cache_folder, mirror, requirements

from device.service import environment
from device.service.environment import PLACE, RELEASES, SOURCES

RELEASE = RELEASES[SUITE]
ARCHITECTURE, MACHINE = "arm64", "aarch64"
PACKAGES = ("python3", "python3-pip", "libasound2", "libgomp1", "libstdc++6", *RELEASE.of_debian.values())
TESTERS = ("pytest", "iniconfig", "pluggy", "pytest-xdist", "execnet", "hypothesis", "sortedcontainers", "scipy")
TOOLS = {"debootstrap": "debootstrap", "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
         "qemu-aarch64-static": "qemu-user-static"}
SPEEDS_LIBRARY = "/opt/rig/speeds.so"  # to be preloaded
PACKAGES_PLACE = f"{PLACE}/lib/python{RELEASE.python}/site-packages"
PYTHON, TETRAD = f"/{PLACE}/bin/python3", f"/{PLACE}/bin/tetrad"

BINFMT = Path("/proc/sys/fs/binfmt_misc")
PROGRAM = BINFMT / "qemu-aarch64"
RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")  # of qemu-user-static

# QEMU's name of a processor -> what /proc/cpuinfo calls it. LiteRT's fast kernels (XNNPACK) are used only where this
# and /sys tell a processor of their own kind; on QEMU's default, "max", which has all that Arm ever thought of, they
# give noise (QEMU 7.2).
PROCESSORS = {"cortex-a53": 0xd03, "cortex-a72": 0xd08, "cortex-a76": 0xd0b}  # Pi 3 and Zero 2 W, Pi 4, Pi 5
OLDEST, FASTEST = "cortex-a53", "cortex-a76"  # the one runs what all run; the other is emulated in half the time
CORES = 4
CPUINFO = """processor\t: {core}
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: {part:#x}
CPU revision\t: 3

"""

# QEMU 7.2 knows no ioctl for a speed of one's own, as a DIN socket's UART has: here they set what else there is to set.
SPEEDS = """
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>
enum { TCGETS = 0x5401, TCSETS = 0x5402, TCGETS2 = 0x802C542A, TCSETS2 = 0x402C542B };
int ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    unsigned known = (unsigned)request == TCGETS2 ? TCGETS : request == TCSETS2 ? TCSETS : request;
    return (int)syscall(SYS_ioctl, fd, known, argument);
}
"""

ENTER = """
root=$1 share=$2 checkout=$3; shift 3
mount --rbind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$root/opt/rig/$QEMU_CPU" "$root/proc/cpuinfo"
mount --bind "$share" "$root/share"
for each in tests docs device/engine; do mount --bind -o ro "$checkout/$each" "$root/checkout/$each"; done
exec chroot "$root" "$@"
"""
VARIABLES = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "QEMU_CPU": OLDEST}


class NoArm(RigError):
    """This machine cannot run another processor's programs: what is missing, and what to do."""


class Arm:
    """The system in `root`. Commands are of it, as are their paths; /share is `share` outside."""

    def __init__(self, root: Path, share: Path) -> None:
        self.root, self.share = root, share

    def command(self, *command: str) -> list[str]:
        """The command, as this machine is told to run it: as one process, whose signals it gets."""
        return ["unshare", "--mount", "sh", "-ec", ENTER, "enter", str(self.root), str(self.share), str(ROOT), *command]

    def run(self, *command: str, within_s: float = 120.0, **variables: str) -> str:
        """What it prints. Raises RigError where it fails."""
        done = subprocess.run(self.command(*command), capture_output=True, text=True, errors="replace",
                              timeout=within_s, env=VARIABLES | variables)
        if done.returncode != 0:
            raise RigError(f"{' '.join(command)} failed on {MACHINE}:\n{(done.stdout + done.stderr)[-4_000:]}")
        return done.stdout


@contextlib.contextmanager
def arm(share: Path) -> Iterator[Arm]:
    """The system, with the checkout's wheel installed by its own pip; one user at a time. Raises NoArm where this
    machine cannot, RigError and TetradError where it does not come about."""
    if missing := sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None}):
        raise NoArm(f"{MACHINE} under emulation needs system packages: apt-get install {' '.join(missing)}")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        raise NoArm(f"{MACHINE} under emulation needs mounts of its own: run this as root, and in no container that "
                    "forbids them")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    recipe = "".join(Path(file).read_text() for file in (__file__, environment.__file__)) + "\n".join(requirements())
    folder = cache / f"arm-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with open(cache / "arm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _emulation():
            if not folder.is_dir():
                _make(folder)
            system = Arm(folder / "root", share)
            _install(system, _wheel(folder))
            yield system


@contextlib.contextmanager
def _emulation() -> Iterator[None]:
    """While it lasts, the kernel runs programs for aarch64. Raises NoArm where it may not."""
    with contextlib.ExitStack() as later:
        if not (BINFMT / "register").exists():
            if subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], capture_output=True).returncode:
                raise NoArm("this kernel has no binfmt_misc, or lets nobody mount it: it runs no other processor's "
                            "programs")
            later.callback(_run, "umount", "--lazy", BINFMT)
        if not PROGRAM.exists():
            try:
                (BINFMT / "register").write_bytes(RULE.read_bytes())
            except OSError as error:
                raise NoArm(f"{RULE} cannot be registered: {error.strerror}") from error
            later.callback(PROGRAM.write_text, "-1")
        told = PROGRAM.read_text()
        flags = next((line for line in told.splitlines() if line.startswith("flags:")), "")
        if not told.startswith("enabled") or "F" not in flags.removeprefix("flags:"):
            raise NoArm(f"{PROGRAM} is another's, and disabled or without flag F, by which it is found in a chroot: "
                        f"remove it (echo -1 > {PROGRAM})")
        yield


def _make(folder: Path) -> None:
    for old in folder.parent.glob("arm-*"):
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="arm-making-") as making:
        root = Path(making) / "whole" / "root"
        _say("Debian")
        # A namespace of its own: what debootstrap mounts ends with it.
        _run("unshare", "--mount", "debootstrap", f"--arch={ARCHITECTURE}", "--variant=minbase",
             f"--include={','.join(PACKAGES)}", SUITE, root, mirror())
        for package in root.glob("var/cache/apt/archives/*.deb"):
            package.unlink()
        _say("Python packages")
        environment.make(root, RELEASE, ARCHITECTURE)
        platforms = [f"--platform=manylinux_2_{minor}_{MACHINE}" for minor in range(17, RELEASE.glibc + 1)]
        _run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--only-binary=:all:",
             "--implementation=cp", f"--python-version={RELEASE.python}", f"--platform=manylinux2014_{MACHINE}",
             *platforms, "--target", root / "opt/testers", *TESTERS)
        _configure(root)
        root.parent.rename(folder)


def _configure(root: Path) -> None:
    for name in ("share", "checkout/tests", "checkout/docs", "checkout/device/engine", "opt/rig",
                 "sys/devices/system/cpu"):
        (root / name).mkdir(parents=True)
    (root / "checkout/device/factory").symlink_to(f"/{PACKAGES_PLACE}/device/factory")  # what is installed, not bound
    for name in ("possible", "present"):
        (root / "sys/devices/system/cpu" / name).write_text(f"0-{CORES - 1}\n")
    for name, part in PROCESSORS.items():
        (root / "opt/rig" / name).write_text("".join(CPUINFO.format(core=core, part=part) for core in range(CORES)))
    source = root / "opt/rig/speeds.c"
    source.write_text(SPEEDS)
    _run(f"{MACHINE}-linux-gnu-gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2", source, "-o",
         source.with_suffix(".so"))


def _wheel(folder: Path) -> Path:
    """The checkout's wheel, built where the last was of other sources."""
    digest = hashlib.sha256()
    for source in SOURCES:
        files = [ROOT / source] if (ROOT / source).is_file() else sorted((ROOT / source).rglob("*"))
        for file in files:
            if file.is_file() and file.suffix not in (".so", ".pyc"):
                digest.update(f"{file.relative_to(ROOT)} ".encode() + hashlib.sha256(file.read_bytes()).digest())
    place = folder / "wheels" / digest.hexdigest()[:16]
    if not place.is_dir():
        _say("the checkout's wheel")
        shutil.rmtree(folder / "wheels", ignore_errors=True)
        (folder / "wheels").mkdir()
        with tempfile.TemporaryDirectory() as building:
            built = environment.own_wheel(Path(building), ARCHITECTURE)
            whole = folder / "wheels" / "new"
            whole.mkdir()
            shutil.copy(built, whole)
            whole.rename(place)
    return next(place.glob("*.whl"))


def _install(system: Arm, wheel: Path) -> None:
    """By its own pip, in place of what was there."""
    shutil.copy(wheel, system.share)
    system.run(PYTHON, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--force-reinstall",
               "--root-user-action=ignore", f"/share/{wheel.name}")
    (system.share / wheel.name).unlink()


def _say(what: str) -> None:
    print(f"arm: {what} …", file=sys.stderr, flush=True)


def _run(*command: str | Path) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace",
                         env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    if ran.returncode != 0:
        raise RigError(f"{command[0]} failed:\n{(ran.stdout + ran.stderr)[-2_000:]}")
    return ran.stdout


def main() -> int:
    try:
        with tempfile.TemporaryDirectory() as share, arm(Path(share)) as system:
            print(system.root.parent)
    except (RigError, environment.TetradError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
