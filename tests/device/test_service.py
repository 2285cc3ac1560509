"""The units, rules and scripts, as systemd and the shell's own checkers see them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from device.service import power, setup
from device.service.setup import FILES, HERE

UNIT = (HERE / "tetrad.service").read_text()


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze: apt-get install systemd")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)


def settings_of(name: str) -> list[str]:
    lines = [line.partition("=") for line in UNIT.splitlines()]
    return [word for found, _, value in lines if found == name for word in value.split()]


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    units = [HERE / file.source for file in FILES if file.target == setup.UNITS]
    assert len(units) == 4
    for unit in units:  # what they run is not installed here
        text = re.sub(r"^(Exec\w+=)/(opt/tetrad/bin|usr/lib/tetrad)/\w+", r"\1/bin/true", unit.read_text(), flags=re.M)
        (tmp_path / unit.name).write_text(text)
    done = analyze("verify", "--man=no", *(tmp_path / unit.name for unit in units))
    own = [line for line in done.stderr.splitlines() if "tetrad" in line]
    assert (done.returncode, own) == (0, [])


def test_systemd_finds_what_is_wrong_with_a_unit(tmp_path):
    (tmp_path / "tetrad.service").write_text(UNIT.replace("/opt/tetrad/bin/tetrad", "/bin/true")
                                             .replace("WatchdogSec=10", "WatchdogSec=ten"))
    assert "ten" in analyze("verify", "--man=no", tmp_path / "tetrad.service").stderr


def test_the_service_is_shut_off_from_what_it_does_not_need():
    done = analyze("security", "--offline=true", "--threshold=20", HERE / "tetrad.service")
    assert done.returncode == 0, done.stdout[-200:]
    assert [settings_of(name) for name in ("ProtectSystem", "CapabilityBoundingSet", "DevicePolicy")] == [
        ["strict"], [], ["closed"]]


def test_the_audio_thread_may_be_real_time_and_keep_its_memory():
    assert (settings_of("LimitRTPRIO"), settings_of("LimitMEMLOCK"), settings_of("RestrictRealtime")) == (
        ["95"], ["infinity"], ["no"])
    assert settings_of("Type") == ["notify"]
    assert settings_of("Restart") == ["always"]


def test_what_python_and_its_decoders_call_is_allowed():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze: apt-get install systemd")

    def calls(group: str) -> set[str]:
        names = {line.strip() for line in analyze("syscall-filter", group).stdout.splitlines()[1:] if "#" not in line}
        return {call for name in names - {""} for call in (calls(name) if name[0] == "@" else {name})}
    allowed: set[str] = set()
    for word in settings_of("SystemCallFilter"):  # a ~ is heeded up to the end of its line
        line = next(line for line in UNIT.splitlines() if line.startswith("SystemCallFilter=") and word in line)
        allowed = allowed - calls(word.lstrip("~")) if "=~" in line else allowed | calls(word)
    assert {"mlockall", "sched_setscheduler", "sched_setaffinity", "setpriority", "futex", "clone3", "execve", "fsync",
            "memfd_create", "rename", "ioctl", "epoll_wait", "ppoll", "sendto", "prlimit64"} <= allowed
    assert not {"reboot", "mount", "bpf", "setuid", "chown", "ptrace", "keyctl", "init_module"} & allowed


def test_every_device_of_a_box_is_allowed_and_its_group_is_the_users():
    members = {line.split()[2] for line in (HERE / "tetrad.conf").read_text().splitlines() if line.startswith("m ")}
    assert set(settings_of("SupplementaryGroups")) == members
    made = {line.split()[1] for line in (HERE / "tetrad.conf").read_text().splitlines() if line.startswith("g ")}
    assert members - made == {"audio", "dialout"}  # which Debian always has
    assert set(re.findall(r'GROUP="(\w+)"', (HERE / "70-tetrad.rules").read_text())) == made
    assert {"char-alsa", "char-gpiochip", "char-spi", "char-i2c", "char-ttyAMA", "char-ttyGS", "char-usb_device"} < set(
        settings_of("DeviceAllow"))


def test_both_faces_of_a_coral_stick_are_known():
    rules = (HERE / "70-tetrad.rules").read_text()
    for vendor, product in (("1a6e", "089a"), ("18d1", "9302")):
        assert f'ATTR{{idVendor}}=="{vendor}", ATTR{{idProduct}}=="{product}", GROUP="plugdev"' in rules


def test_the_units_name_only_each_other_and_what_the_installer_places():
    placed = {f"/{file.target}/{file.source}" for file in FILES}
    for file in FILES:
        text = (HERE / file.source).read_text()
        for path in re.findall(r"=(/usr/lib/\S+)", text):
            assert path in placed
        for unit in re.findall(r"\btetrad[a-z-]*\.(?:service|path)\b", text):
            assert f"/{setup.UNITS}/{unit}" in placed
    assert settings_of("ExecStart")[0] == setup.COMMAND


def test_shell_scripts_are_clean():
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck: apt-get install shellcheck")
    done = subprocess.run(["shellcheck", HERE / "install.sh", HERE / "gadget"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_box_asks_to_be_switched_off_where_systemd_looks(tmp_path, monkeypatch):
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert not power.power_off()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    assert power.power_off()
    assert power.power_off()
    watched = re.search(r"PathExists=(.+)", (HERE / "tetrad-poweroff.path").read_text())
    assert watched is not None
    assert watched[1] == f"/run/{settings_of('RuntimeDirectory')[0]}/{next(tmp_path.iterdir()).name}"
    assert f"rm -f {watched[1]}" in (HERE / "tetrad-poweroff.service").read_text()
    assert not power.power_off(tmp_path / "gone")
