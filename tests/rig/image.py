"""What the virtual machine boots: a kernel, an initial file system and Debian, with all the box's devices and needs.

It is made once and kept under build/rig/ (or in the folder that TETRAD_RIG names) as x86-*, some 700 MB, under a digest
of what it is made of. The checkout's own code is not in it: that travels with each machine (machine.py).

    python tests/rig/image.py       makes it, where it is not there yet, and prints its folder
"""

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE, PYTHON = "bookworm", "3.11"  # as on Raspberry Pi OS
KERNEL_SUITE = "trixie-backports"  # bookworm's and trixie's own kernels have no gpio-sim
PACKAGES = ("systemd-sysv", "udev", "kmod", "busybox-static", "e2fsprogs", "alsa-utils", "python3", "procps")
CLIENTS = ("smpmgr",)  # what the tests themselves use there
PLACE = "opt/tetrad"  # of the box's Python environment, as it is installed (device.service.environment)
BOOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")  # before there is a root to load others from
MODULES = (*BOOT_MODULES, "9pnet_virtio", "9p", "virtio_console", "virtio_rng", "loop", "configfs", "gpio-sim",
           "snd-aloop", "snd-seq", "snd-seq-midi", "snd-usb-audio", "dummy_hcd", "libcomposite", "usb_f_acm",
           "usb_f_midi", "cdc-acm", "i2c-dev", "autofs4")
SIZE_MB = 1_200
TOOLS = {"qemu-system-x86_64": "qemu-system-x86", "debootstrap": "debootstrap", "cpio": "cpio",
         "mke2fs": "e2fsprogs"}

INIT = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc proc /proc; $B mount -t sysfs sys /sys; $B mount -t devtmpfs dev /dev
for module in {modules}; do $B insmod /modules/$module; done
while [ ! -b /dev/vda ]; do $B usleep 20000; done
$B mount -t ext4 -o noatime /dev/vda /root
$B mount --move /dev /root/dev; $B umount /proc /sys
exec $B switch_root /root /sbin/init
"""

# What a guest that lives for a minute can do without: its boot is most of what the rig takes where it is emulated.
UNITS_LEFT_OUT = (
    "getty.target", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount",
    "systemd-journal-flush.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
    "systemd-sysusers.service", "systemd-random-seed.service", "systemd-pstore.service", "dev-hugepages.mount",
    "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
    "modprobe@dm_mod.service", "modprobe@efi_pstore.service", "modprobe@fuse.service", "modprobe@loop.service",
    "modprobe@drm.service", "systemd-remount-fs.service", "systemd-user-sessions.service")

# Files of the guest. It logs in nobody and does nothing but what the agent is told, by a script from the share.
FILES = {
    "etc/hostname": "rig\n",
    "etc/fstab": "rig /rig 9p trans=virtio,version=9p2000.L,msize=262144 0 0\n",
    "etc/modules-load.d/rig.conf": "9pnet_virtio\nvirtio_console\nvirtio_rng\n",
    "etc/modprobe.d/rig.conf": "options snd-aloop id=Loopback index=0\noptions dummy_hcd num=2\n",
    "etc/systemd/system/rig.service": """[Unit]
After=basic.target
RequiresMountsFor=/rig
FailureAction=poweroff-force
[Service]
ExecStart=/opt/tetrad/bin/python3 /rig/guest/agent.py
StandardError=journal+console
[Install]
WantedBy=multi-user.target
""",
}


@dataclass(frozen=True)
class Image:
    """Files to boot from, in a folder that is not to be written to."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def root(self) -> Path:
        return self.folder / "root.ext4"


class RigError(Exception):
    """The rig cannot be made or booted: what is missing, and what to do."""


def cache_folder() -> Path:
    return Path(os.environ.get("TETRAD_RIG") or ROOT / "build" / "rig")


def requirements() -> list[str]:
    """What the box and the tests need of Python's packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return sorted({*project["dependencies"], *project["optional-dependencies"]["pi"], *CLIENTS})


def image() -> Image:
    """The image, made where it is not there yet. Raises RigError."""
    if missing := sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None}):
        raise RigError(f"the rig needs system packages: apt-get install {' '.join(missing)}")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    recipe = Path(__file__).read_text() + "\n".join(requirements())
    folder = cache / f"x86-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    with open(cache / "x86.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _make(folder)
    return Image(folder)


def _make(folder: Path) -> None:
    if os.geteuid() != 0:
        raise RigError("the rig's image is made by debootstrap, which only root may do: run this once as root")
    for old in folder.parent.glob("x86-*"):
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="x86-making-") as making:
        new, root = Path(making) / "image", Path(making) / "root"
        new.mkdir()
        _say("Debian")
        _run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root, mirror())
        _say("Python packages")
        _install_wheels(root)
        _say("kernel")
        version = _install_kernel(root, Path(making) / "apt")
        shutil.move(root / "usr/lib/modules" / version / "vmlinuz", new / "vmlinuz")
        _make_initrd(root, version, Path(making) / "initrd", new / "initrd")
        _say("disk")
        _configure(root)
        _run("mke2fs", "-q", "-t", "ext4", "-d", root, new / "root.ext4", f"{SIZE_MB}m")
        new.rename(folder)


def _install_wheels(root: Path) -> None:
    """By this Python, whose version and C library must be the guest's: some are compiled here."""
    if not sys.version.startswith(f"{PYTHON}."):
        raise RigError(f"the rig is made by Python {PYTHON}, which it runs: this is {sys.version.split()[0]}")
    packages = root / PLACE / f"lib/python{PYTHON}/site-packages"
    _run(sys.executable, "-m", "pip", "install", "-q", "--target", packages, *requirements())
    (packages / "rig.pth").write_text("/rig/site\n")  # the checkout's own
    (root / PLACE / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (root / PLACE / "bin").mkdir()
    (root / PLACE / "bin/python3").symlink_to("/usr/bin/python3")


def _install_kernel(root: Path, apt: Path) -> str:
    """Unpacks the suite's present kernel, asked for with lists of our own; gives its version."""
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "sources.list").write_text(
        f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror()} {KERNEL_SUITE} main\n")
    options = ["-q", "-o", f"Dir::Etc::SourceList={apt}/sources.list", "-o", "Dir::Etc::SourceParts=-", "-o",
               f"Dir::State::Lists={apt}/lists", "-o", f"Dir::Cache={apt}/cache", "-o", "APT::Sandbox::User=root"]
    _run("apt-get", *options, "update")
    latest = _run("apt-cache", *options, "show", "--no-all-versions", "linux-image-amd64")
    version = re.search(r"^Depends:.*linux-image-([^ ,]+)", latest, re.MULTILINE)[1]
    packages = [f"linux-{part}-{version}" for part in ("base", "binary", "modules")]
    _run("apt-get", *options, "download", *packages, folder=apt)
    for package in apt.glob("*.deb"):
        _run("dpkg-deb", "-x", package, root)
    _run("chroot", root, "depmod", version)
    _keep_modules(root, version)
    if not list((root / "usr/lib/modules" / version).rglob("gpio-sim.ko*")):
        raise RigError(f"the kernel {version} has no gpio-sim: name another suite in {__file__}")
    return version


def _keep_modules(root: Path, version: str) -> None:
    """Leaves the kernel the modules of MODULES and theirs, unpacked: to unpack them takes long where QEMU emulates."""
    tree = root / "usr/lib/modules" / version
    for name in _needed(root, version, MODULES):
        packed = root / name
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
    for path in tree.rglob("*.ko.xz"):
        path.unlink()
    _run("chroot", root, "depmod", version)


def _needed(root: Path, version: str, modules: Sequence[str]) -> list[str]:
    """The files of modules, in the order in which they can be loaded; none of what is built in."""
    lines = _run("chroot", root, "modprobe", "-S", version, "-a", "--show-depends", *modules).splitlines()
    return list(dict.fromkeys(line.split()[1].lstrip("/") for line in lines if line.startswith("insmod ")))


def _make_initrd(root: Path, version: str, folder: Path, out: Path) -> None:
    """Busybox and the modules that reach the root."""
    for name in ("bin", "dev", "proc", "sys", "root", "modules"):
        (folder / name).mkdir(parents=True)
    shutil.copy(root / "bin/busybox", folder / "bin/busybox")
    modules = [root / name for name in _needed(root, version, BOOT_MODULES)]
    for module in modules:
        shutil.copy(module, folder / "modules")
    init = folder / "init"
    init.write_text(INIT.format(modules=" ".join(module.name for module in modules)))
    init.chmod(0o755)
    _run("sh", "-c", f"find . | cpio -o -H newc --quiet > {out}", folder=folder)


def _configure(root: Path) -> None:
    (root / "rig").mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text)
    (root / "etc/machine-id").write_text(hashlib.md5(b"rig").hexdigest() + "\n")  # else it is a first boot each time
    for name in ("etc/.updated", "var/.updated"):
        (root / name).touch()
    systemctl = ("chroot", root, "systemctl")
    _run(*systemctl, "set-default", "multi-user.target")
    _run(*systemctl, "enable", "rig.service")
    _run(*systemctl, "mask", *UNITS_LEFT_OUT)


def _say(what: str) -> None:
    print(f"rig: {what} …", file=sys.stderr, flush=True)


def mirror() -> str:
    """Debian's, as this machine's apt has it."""
    told = _run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", f"Codename: {SUITE}")
    if not told.strip():
        raise RigError(f"apt has no mirror of Debian {SUITE}: name one in /etc/apt/sources.list")
    return told.split()[0]


def _run(*command: str | Path, folder: Path | None = None) -> str:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace",
                         env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    if ran.returncode != 0:
        raise RigError(f"{command[0]} failed:\n{(ran.stdout + ran.stderr)[-2_000:]}")
    return ran.stdout


def main(_: Sequence[str]) -> int:
    try:
        print(image().folder)
    except RigError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
