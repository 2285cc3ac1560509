"""The self-test of what sounds and what is played on."""

import os
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from self_testing import QUIET, Answers, checked, pretend_pi, two_ends

from device.box import self_test_sound
from device.box.self_test_bench import FAILED, NOT_HERE, OK
from device.box.settings import Audio, Midi

on_a_pi = pytest.fixture(pretend_pi)
terminals = pytest.fixture(two_ends)


# --- MIDI.

def with_din(port):
    return replace(QUIET, midi=Midi(din=port))


class Loop:
    """A cable from MIDI OUT to MIDI IN; it can lose messages of three bytes, by number."""

    def __init__(self, end, lost=()):
        self.came = b""
        self._end, self._lost = end, lost
        self._stop = threading.Event()
        os.set_blocking(end, False)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(0.002):
            try:
                self.came += os.read(self._end, 100)
            except BlockingIOError:
                continue
            messages = [self.came[n:n + 3] for n in range(0, len(self.came), 3)]
            os.write(self._end, b"".join(text for n, text in enumerate(messages) if n not in self._lost))

    def close(self):
        self._stop.set()
        self._thread.join()


@pytest.mark.parametrize(("lost", "state"), [((), OK), ((1,), FAILED), ((0, 1, 2, 3), NOT_HERE)])
def test_a_loop_cable_is_found(tmp_path, terminals, lost, state):
    loop = Loop(terminals[0], lost)
    verdict = checked(tmp_path, "MIDI loop", with_din(os.ttyname(terminals[1])))
    loop.close()
    assert verdict.state == state
    assert b"".join(self_test_sound.LOOP_MESSAGES) == loop.came
    assert state != FAILED or verdict.text.startswith("3 of 4 messages came back: wires of output (GPIO15")


def test_where_a_loop_cable_is_no_note_is_asked_for(tmp_path, terminals):
    loop, person = Loop(terminals[0]), Answers()
    assert checked(tmp_path, "MIDI in", with_din(os.ttyname(terminals[1])), person) is None
    loop.close()
    assert person.said == []


def test_a_note_by_cable(tmp_path, terminals):
    person = Answers({}, {"Play a note": lambda: os.write(terminals[0], bytes((0x90, 60, 0, 0xFE, 0x93, 61, 99)))})
    verdict = checked(tmp_path, "MIDI in", with_din(os.ttyname(terminals[1])), person)
    assert (verdict.state, verdict.text) == (OK, "note 61, velocity 99")


def test_no_note_by_cable(tmp_path, terminals):
    verdict = checked(tmp_path, "MIDI in", with_din(os.ttyname(terminals[1])), patience_s=0.5)
    assert verdict.state == FAILED
    assert verdict.text.startswith("no note was seen")
    assert "output (GPIO15, header pin 10)" in verdict.text


def test_bytes_that_are_no_message(tmp_path, terminals):
    person = Answers({}, {"Play a note": lambda: os.write(terminals[0], bytes(range(20)))})
    verdict = checked(tmp_path, "MIDI in", with_din(os.ttyname(terminals[1])), person, patience_s=0.5)
    assert verdict.state == FAILED
    assert verdict.text.startswith("20 bytes came that are no message")


def test_a_midi_port_that_is_not_there(tmp_path):
    verdict = checked(tmp_path, "MIDI port", with_din("/dev/ttyAMA77"))
    assert verdict.state == FAILED
    assert "/dev/ttyAMA77" in verdict.text
    assert checked(tmp_path, "MIDI loop", with_din("/dev/ttyAMA77")) is None
    assert checked(tmp_path, "MIDI port").state == NOT_HERE


@pytest.mark.skipif(Path("/dev/snd/seq").exists(), reason="ALSA's sequencer is here")
def test_no_sequencer_is_a_fault_of_a_pi_alone(tmp_path, on_a_pi, monkeypatch):
    verdict = checked(tmp_path, "keyboards")
    assert (verdict.state, "snd_seq" in verdict.text) == (FAILED, True)
    monkeypatch.undo()
    assert checked(tmp_path, "keyboards").state == NOT_HERE


def test_keyboards_are_named(tmp_path, monkeypatch):
    from device._alsa import PLUGGED

    told = [(0, PLUGGED, b"Keystation 49")]
    keyboard = SimpleNamespace(poll=lambda: [told.pop()] if told else [], meters=lambda: {"sequencer": True})
    monkeypatch.setattr(self_test_sound, "Sound", lambda *_: SimpleNamespace(
        engine=SimpleNamespace(set_bank=lambda *_: None), keyboard=keyboard, start=lambda: None, stop=lambda: None))
    verdict = checked(tmp_path, "keyboards")
    assert (verdict.state, verdict.text) == (OK, "Keystation 49")
    assert checked(tmp_path, "keyboards").state == NOT_HERE


# --- Sound.

CARDS = """
pcm.capture { type file slave.pcm silent file "FOLDER/out.raw" format raw }
pcm.silent { type null }
ctl.!default { type null }
"""


@pytest.fixture
def card(tmp_path, monkeypatch):
    """A card that writes a file, as fast as it can."""
    config = tmp_path / "asoundrc"
    config.write_text(CARDS.replace("FOLDER", str(tmp_path)))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    return replace(QUIET, audio=Audio(device="capture"))


def test_a_card_that_is_not_there(tmp_path, card):
    verdict = checked(tmp_path, "sound card", replace(QUIET, audio=Audio(device="hw:CARD=sndrpihifiberry")))
    assert verdict.state == FAILED
    assert "dtoverlay=hifiberry-dac" in verdict.text
    assert "BCK (GPIO18, header pin 12)" in verdict.text


def test_a_card_that_plays(tmp_path, card):
    verdict = checked(tmp_path, "sound card", card)
    assert (verdict.state, verdict.text.split(",")[0]) == (OK, "capture"), verdict


class Meters:
    """A sound card whose meters are a test's."""

    def __init__(self, *_, xruns=0, state="running"):
        self.count = Counter()
        self.xruns, self.state = xruns, state
        self.engine = SimpleNamespace(set_bank=lambda *_: None, send=lambda *words: True)

    def start(self):
        pass

    stop = start

    def problem(self):
        return ""

    def meters(self):
        self.count["asked"] += 1
        return {"xruns": self.xruns * (self.count["asked"] > 1), "state": self.state, "channels": 2, "format": "S32_LE",
                "periods": 3, "period_frames": 128}


@pytest.mark.parametrize(("meters", "said"), [({"xruns": 3}, "3 xruns"),
                                              ({"state": "absent"}, "capture does not play")])
def test_a_card_that_does_not_keep_up_or_does_not_play(tmp_path, monkeypatch, card, meters, said):
    monkeypatch.setattr(self_test_sound, "Sound", lambda *_: Meters(**meters))
    verdict = checked(tmp_path, "sound card", card)
    assert verdict.state == FAILED
    assert verdict.text.startswith(said)


@pytest.mark.parametrize(("answer", "state"), [("y", OK), ("n", FAILED)])
def test_who_listens_is_asked(tmp_path, monkeypatch, card, answer, state):
    monkeypatch.setattr(self_test_sound, "Sound", Meters)
    verdict = checked(tmp_path, "tone", card, Answers({"tone": answer}))
    assert verdict.state == state
    assert state == OK or "tip (LINE_LEFT)" in verdict.text


def test_without_a_card_nobody_is_asked_to_listen(tmp_path):
    person = Answers()
    assert checked(tmp_path, "sound card").state == NOT_HERE
    assert checked(tmp_path, "tone", person=person) is None
    assert person.said == []


def test_the_tone_is_left_then_right():
    import numpy as np

    from device import _engine

    engine, rate_hz = _engine.Engine(48_000, 8), 48_000
    engine.set_bank([127], [self_test_sound.tone_table()], 2)
    now_s = [100.0]
    player = self_test_sound._Tone(engine, lambda: now_s[0])
    blocks = []
    for _ in range(int(2 * self_test_sound.AGAIN_S * rate_hz / 480)):
        player.turn()
        block = np.zeros((480, 2), np.float32)
        engine.render(block)
        blocks.append(np.abs(block).max(0))
        now_s[0] += 0.01
    level = np.array(blocks)  # [hundredths of a second, 2]
    for begins in (0, 240):
        assert level[begins + 5:begins + 58].max() < 0.01
        assert level[begins + 70:begins + 95].min(0)[0] > 0.1
        assert level[begins + 70:begins + 95].max(0)[1] < 0.01
        assert level[begins + 130:begins + 155].min(0)[1] > 0.1
        assert level[begins + 130:begins + 155].max(0)[0] < 0.01
        assert level[begins + 175:begins + 238].max() < 0.01
    player.stop()
