#!/bin/sh
# Makes a Tetrad of a Raspberry Pi with Raspberry Pi OS (Bookworm or Trixie, 64 bits), out of this checkout; may be said
# again, to upgrade. Presets, in /var/lib/tetrad, and changed settings, /etc/tetrad.toml, outlive --uninstall.
# usage: install.sh [--root DIR] [--uninstall]      DIR: another system's root folder, such as a mounted card
set -eu
cd "$(dirname "$0")/../.."
export PYTHONDONTWRITEBYTECODE=1 # the checkout is somebody else's than root's

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

root=/
uninstall=
while [ $# -gt 0 ]; do
    case "$1" in
        --root) [ $# -ge 2 ] || fail "--root needs a folder"; root=$2; shift 2 ;;
        --uninstall) uninstall=yes; shift ;;
        *) echo "usage: install.sh [--root DIR] [--uninstall]" >&2; exit 2 ;;
    esac
done
[ -d "$root" ] || fail "there is no folder $root"
root=$(realpath "$root")

[ "$(id -u)" = 0 ] || fail "it changes the system: run it by sudo"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    || fail "needs Python 3.11, which Raspberry Pi OS has since Bookworm"
if dpkg-query --admindir="$root/var/lib/dpkg" -W -f='${db:Status-Status}' tetrad 2>/dev/null | grep -qx installed; then
    fail "the package tetrad is installed: apt upgrades and removes it, this does not"
fi

if [ "$uninstall" ]; then
    python3 -m device.service.setup unconfigure --root "$root"
    python3 -m device.service.setup unplace --root "$root"
    rm -rf "$root/opt/tetrad"
    rmdir "$root/opt" 2>/dev/null || true
    echo "Tetrad is removed; presets are still in $root/var/lib/tetrad" | sed 's,//,/,'
    exit 0
fi

if [ "$root" = / ]; then
    [ "$(dpkg --print-architecture)" = arm64 ] || fail "needs the 64-bit Raspberry Pi OS; this is $(dpkg --print-architecture)"
    grep -q "Raspberry Pi" /proc/device-tree/model 2>/dev/null \
        || fail "this is no Raspberry Pi; for another system's card or folder: --root DIR"
fi
needed_mb=700 # the environment, the one before it, and what it is built from
free_mb=$(df -Pm "$root" | awk 'NR == 2 { print $4 }')
[ "$free_mb" -ge "$needed_mb" ] || fail "needs $needed_mb MB on the disk of $root, and $free_mb MB are free"

needs=$(python3 -m device.service.environment --needs --root "$root")
[ "$root" != / ] || needs="$needs gcc libasound2-dev python3-dev python3-venv"
missing=
if [ -f "$root/var/lib/dpkg/status" ]; then
    for package in $needs; do
        dpkg-query --admindir="$root/var/lib/dpkg" -W -f='${db:Status-Status}\n' "$package" 2>/dev/null \
            | grep -qx installed || missing="$missing $package"
    done
fi
if [ "$missing" ] && [ "$root" != / ]; then fail "the system in $root lacks$missing: install them there first"; fi
if [ "$missing" ]; then
    # shellcheck disable=SC2086 # one word a package
    apt-get install -y -q --no-install-recommends $missing \
        || fail "apt-get cannot install$missing: sudo apt-get update, and see that the Pi is on line"
fi

TMPDIR=/var/tmp # /tmp may be in memory, of which a small Pi has less
export TMPDIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
python3 -m venv "$work/venv" || fail "cannot make a virtual environment: sudo apt-get install python3-venv"
"$work/venv/bin/python" -m device.service.environment --root "$root"
[ "$root" != / ] || /opt/tetrad/bin/python3 -sP -m compileall -q /opt/tetrad/lib || true
python3 -m device.service.setup place --root "$root"
python3 -m device.service.setup configure --root "$root"
