"""The gadget's script on a folder that keeps configfs' rules, which `mkdir` below does."""

import os
import subprocess
import sys

import pytest

from device.service.setup import HERE

# A gadget is made with groups and attributes.
MKDIR = """
import sys
from pathlib import Path
GROUPS = {"usb_gadget": ("configs", "functions", "strings"), "configs": ("strings",)}
FILES = {"usb_gadget": ("UDC", "idVendor", "idProduct", "bcdUSB", "bDeviceClass", "bDeviceSubClass", "bDeviceProtocol"),
         "configs": ("MaxPower",), "functions": ("id",), "strings": ("manufacturer", "product", "serialnumber")}
for name in sys.argv[1:]:
    folder = Path(name)
    folder.mkdir()
    for group in GROUPS.get(folder.parent.name, ()):
        (folder / group).mkdir()
    for file in FILES.get(folder.parent.name, ()):
        (folder / file).touch()
"""
NEVER = """
import sys
sys.exit("the kernel would wait for who has the port open")
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Runs the script; its config and its controllers lie in tmp_path."""
    (tmp_path / "config/usb_gadget").mkdir(parents=True)
    (tmp_path / "udc").mkdir()
    (tmp_path / "bin").mkdir()
    for name, text in (("mkdir", MKDIR), ("rmdir", NEVER)):
        (tmp_path / "bin" / name).write_text(f"#!{sys.executable}{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TETRAD_CONFIGFS", str(tmp_path / "config"))
    monkeypatch.setenv("TETRAD_UDC", str(tmp_path / "udc"))
    return tmp_path


def gadget(word: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HERE / "gadget", word], capture_output=True, text=True)


def test_it_is_a_serial_port_and_a_midi_port_called_tetrad(kernel):
    (kernel / "udc/fe980000.usb").mkdir()
    assert gadget("start").returncode == 0
    made = kernel / "config/usb_gadget/tetrad"
    assert (made / "UDC").read_text() == "fe980000.usb\n"
    assert (made / "strings/0x409/product").read_text() == "Tetrad\n"
    assert len((made / "strings/0x409/serialnumber").read_text().strip()) == 16
    assert {link.name for link in (made / "configs/c.1").iterdir() if link.is_symlink()} == {"acm.usb0", "midi.usb0"}


def test_starting_twice_is_starting_once_and_stopping_unplugs_it(kernel):
    (kernel / "udc/fe980000.usb").mkdir()
    written = []
    bound = kernel / "config/usb_gadget/tetrad/UDC"
    for word, said in (("start", "fe980000.usb"), ("start", "fe980000.usb"), ("stop", ""), ("stop", ""),
                       ("start", "fe980000.usb")):
        done = gadget(word)
        assert (done.returncode, done.stderr) == (0, "")
        assert bound.read_text().strip() == said
        written.append(bound.stat().st_mtime_ns)
    assert written[0] == written[1]  # who plays through it is not cut off
    assert written[2] == written[3]


def test_stopping_what_was_never_started_is_nothing(kernel):
    assert gadget("stop").returncode == 0
    assert list((kernel / "config/usb_gadget").iterdir()) == []


@pytest.mark.parametrize("undone", ["UDC", "configs/c.1/midi.usb0", "configs/c.1/acm.usb0"])
def test_what_was_left_half_made_is_completed(kernel, undone):
    (kernel / "udc/fe980000.usb").mkdir()
    gadget("start")
    made = kernel / "config/usb_gadget/tetrad"
    (made / "UDC").write_text("\n")
    if undone != "UDC":
        (made / undone).unlink()
    done = gadget("start")
    assert (done.returncode, done.stderr) == (0, "")
    assert (made / "UDC").read_text() == "fe980000.usb\n"
    assert (made / "configs/c.1/midi.usb0").is_symlink()


def test_without_a_controller_it_says_what_to_do(kernel):
    done = gadget("start")
    assert done.returncode == 1
    assert "config.txt needs dtoverlay=dwc2" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list((kernel / "config/usb_gadget").iterdir()) == []


def test_another_word_is_bad_use(kernel):
    assert gadget("restart").returncode == 2
