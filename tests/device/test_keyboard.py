"""Keyboards that come and go, driven by keyboard_storm.c: a script stands in for ALSA's sequencer, a pipe for the DIN
cable. What they make of MIDI's meaning is midi.h's and tested there; here it is what arrives, when, and what is let go.
"""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from native import ENGINE
from test_midi import KINDS

STORM = Path(__file__).with_name("keyboard_storm.c")
RENAMED = ["snd_seq_open", "snd_seq_close", "snd_seq_set_client_name", "snd_seq_set_client_pool_input",
           "snd_seq_client_id", "snd_seq_create_simple_port", "snd_seq_connect_from", "snd_seq_get_any_port_info",
           "snd_seq_get_any_client_info", "snd_seq_query_next_client", "snd_seq_query_next_port",
           "snd_seq_poll_descriptors", "snd_seq_event_input", "card_send"]
# capabilities and types of ports, as the kernel's asequencer.h numbers them
READ, SUBS_READ, NO_EXPORT, INACTIVE, UMP_ENDPOINT = 1 << 0, 1 << 5, 1 << 7, 1 << 8, 1 << 9
MIDI_GENERIC, HARDWARE, SOFTWARE, PORT = 1 << 1, 1 << 16, 1 << 17, 1 << 19
READABLE, KEYS = READ | SUBS_READ, MIDI_GENERIC | HARDWARE | PORT
# types of events, as there
NOTE_ON, NOTE_OFF, CONTROLLER, BEND, SYSEX, PORT_CHANGE, UNSUBSCRIBED, CLOCK = 6, 7, 10, 13, 130, 65, 67, 36
OWN_CLIENT, OWN_PORT = 130, 3
ON, OFF, BLEND, SUSTAIN, PARAMETER, TUNE_KEY = (
    KINDS.index(name) for name in ("NOTE_ON", "NOTE_OFF", "BLEND", "SUSTAIN", "PARAMETER", "TUNE_KEY"))

pytestmark = pytest.mark.skipif(
    subprocess.run(["gcc", "-E", "-x", "c", "-"], input=b"#include <alsa/asoundlib.h>", capture_output=True).returncode
    != 0, reason="needs ALSA's headers: libasound2-dev")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("keyboard")


@cache
def program(folder, compiler="gcc", *flags):
    storm = folder / f"keyboard-{compiler}{''.join(flags).replace('=', '')}"
    common = [compiler, "-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{ENGINE}", *flags]
    seam = [f"-D{name}=storm_{name}" for name in RENAMED]
    subprocess.run([*common, *seam, "-c", ENGINE / "keyboard.c", "-o", storm.with_suffix(".o")], check=True)
    subprocess.run([*common, STORM, storm.with_suffix(".o"), ENGINE / "midi.c", ENGINE / "midi_parser.c", "-o", storm,
                    "-lasound", "-lm"], check=True)
    return storm


@pytest.fixture
def storm(folder):
    """What each command led to, as lines, the first those before any command and the last those of stopping."""

    def run(*commands, mode="", before=(), compiler="gcc", flags=()):
        result = subprocess.run([program(folder, compiler, *flags), mode, *before], input="\n".join(commands) + "\n",
                                capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, (result.returncode, result.stdout[-500:], result.stderr[-2_000:])
        assert result.stderr == ""
        parts = [[]]
        for line in result.stdout.splitlines():
            if line.startswith("> "):
                parts.append([])
            else:
                assert "late" not in line  # arrivals lie between the command and its outcome
                parts[-1].append(line)
        assert len(parts) == len(commands) + 2
        return parts

    return run


def keys(client, port=0, capability=READABLE, kind=KEYS, name="Keys"):
    return f"{client} {port} {capability} {kind} {name}"


def event(client, kind, *numbers, port=0):
    return f"event {client} {port} {kind} {' '.join(map(str, numbers))}"


def meters(lines):
    return {name: int(value) for name, value in (word.split("=") for word in lines[0].split()[1:])}


def connected(parts):
    return [line.split()[1] for part in parts for line in part if line.startswith("connect")]


# --- translation

def test_events_of_the_sequencer_are_the_bytes_that_alsa_makes_of_them(storm):
    same, _, tamed = map(int, storm("translate 200000 1")[1][0].split()[1::2])  # and no line of a difference
    assert same > 50_000
    assert tamed > 5_000


def test_numbers_out_of_range_are_brought_into_it(storm):
    parts = storm(event(20, NOTE_ON, 0, 200, 255), event(20, CONTROLLER, 1, 500, 300), event(20, BEND, 2, 0, 99_999),
                  event(20, BEND, 2, 0, -99_999), event(20, NOTE_ON, 16, 60, 100), "meters")
    copies = [line for part in parts[1:5] for line in part if line.startswith(("message", "host"))]
    assert copies == ["message 907f7f", "host b17f7f", "message e27f7f", "message e20000"]
    assert parts[5] == []
    assert meters(parts[6])["ignored"] == 1


# --- ports

def test_keyboards_are_connected_those_that_are_there_and_those_that_come(storm):
    parts = storm(f"plug {keys(32, 1)}", before=[keys(20), keys(20, 1), keys(28, 0, name="Pads, 2x")])
    assert sorted(connected(parts[:1])) == ["20:0", "20:1", "28:0"]
    assert "plugged Client 28: Pads, 2x" in parts[0]
    assert parts[1] == ["connect 32:1", "plugged Client 32: Keys"]


@pytest.mark.parametrize("port", [
    keys(14, kind=MIDI_GENERIC | SOFTWARE | PORT, name="Midi Through"), keys(20, capability=READ),
    keys(20, capability=1 << 1 | 1 << 6, name="synthesizer"), keys(20, kind=HARDWARE | PORT, name="not MIDI"),
    keys(20, capability=READABLE | UMP_ENDPOINT), keys(20, capability=READABLE | INACTIVE),
    keys(20, capability=READABLE | NO_EXPORT), keys(OWN_CLIENT)])
def test_what_is_no_keyboard_is_left_alone(storm, port):
    assert connected(storm(f"plug {port}", before=[port])) == []


def test_connecting_may_be_left_to_others_whose_ports_are_heard_all_the_same(storm):
    parts = storm(f"plug {keys(32)}", event(32, NOTE_ON, 0, 60, 127), mode="alone", before=[keys(20)])
    assert connected(parts) == []
    assert parts[2] == [f"event {ON} 0 60 1 0", "plugged Client 32: Keys", "message 903c7f"]


def test_a_port_that_wakes_is_connected_once(storm):
    parts = storm(event(0, PORT_CHANGE, 20, 0), event(20, NOTE_ON, 0, 60, 1), f"plug {keys(24)}", before=[keys(20)])
    assert connected(parts) == ["20:0", "24:0"]


# --- notes

def test_notes_of_a_keyboard_that_is_pulled_out_end(storm):
    parts = storm(event(20, NOTE_ON, 0, 60, 127), event(20, NOTE_ON, 5, 127, 127), event(20, NOTE_ON, 0, 61, 127),
                  event(20, NOTE_OFF, 0, 61, 0), "unplug 20 0", before=[keys(20), keys(24)])
    assert parts[5] == [f"event {OFF} 0 60 0 0", f"event {OFF} 5 127 0 0", "message 803c40", "message 857f40",
                        "unplugged Client 20: Keys"]


@pytest.mark.parametrize("end", ["unplug 20 0", "unplug 20 -1", event(0, UNSUBSCRIBED, 20, 0, OWN_CLIENT, OWN_PORT),
                                 "overrun", "broken"])
def test_whatever_ends_a_connection_ends_its_notes_and_lifts_its_pedals(storm, end):
    parts = storm(event(20, NOTE_ON, 3, 60, 127), event(20, CONTROLLER, 3, 64, 127), end, before=[keys(20)])
    assert f"event {OFF} 3 60 0 0" in parts[3]
    assert f"event {SUSTAIN} 3 0 0 0" in parts[3]
    assert {"message 833c40", "host b37900"} <= set(parts[3])
    assert parts[4] == []  # nothing is left for the end


def test_notes_of_other_keyboards_stay(storm):
    parts = storm(event(20, NOTE_ON, 0, 60, 127), event(24, NOTE_ON, 0, 64, 127), event(24, CONTROLLER, 0, 64, 127),
                  event(0, UNSUBSCRIBED, 24, 0, OWN_CLIENT, OWN_PORT + 1), "unplug 20 0", before=[keys(20), keys(24)])
    assert parts[4] == []
    assert parts[5] == [f"event {OFF} 0 60 0 0", "message 803c40", "unplugged Client 20: Keys"]
    assert f"event {OFF} 0 64 0 0" in parts[6]  # when all stops
    assert f"event {SUSTAIN} 0 0 0 0" in parts[6]


def test_a_sequencer_that_is_not_there_is_asked_for_again_and_the_cable_plays(storm):
    parts = storm("din 903c7f", "meters", mode="absent")
    assert parts[1] == [f"event {ON} 0 60 1 0", "message 903c7f"]
    assert meters(parts[2])["sequencer"] == 0
    parts = storm("meters", "broken", "meters", "meters", before=[keys(20)])
    assert [meters(parts[at])["sequencer"] for at in (1, 3, 4)] == [1, 0, 1]


def test_only_so_many_ports_are_heard_and_what_the_others_say_is_counted(storm):
    parts = storm(*(event(client, NOTE_ON, 0, client, 127) for client in range(10, 50)), "meters")
    assert (meters(parts[-2])["sources"], meters(parts[-2])["messages"], meters(parts[-2])["ignored"]) == (32, 31, 9)


# --- the DIN cable and long messages

def test_bytes_of_the_cable_are_messages_with_running_status_and_clock_in_between(storm):
    parts = storm("din 90f83c7f40", "din 7f41f87f", "meters")
    assert [line for line in parts[1] + parts[2] if not line.startswith("event")] == [
        "host f8", "message 903c7f", "message 90407f", "host f8", "message 90417f"]
    assert meters(parts[3])["messages"] == 5


def test_bytes_of_no_message_are_counted(storm):
    parts = storm("din 3c3cf0017f90407f", "meters")
    assert meters(parts[2])["malformed"] == 3


@pytest.mark.parametrize("end", ["hang_up", "wait 700"])
def test_a_cable_that_is_pulled_out_ends_its_notes(storm, end):
    parts = storm("din 903c7ffe", end, "meters")  # 0xfe: active sensing, to be repeated every 300 ms
    assert f"event {OFF} 0 60 0 0" in parts[2]
    assert meters(parts[3])["din"] == (end != "hang_up")


def test_a_cable_without_active_sensing_may_be_silent(storm):
    parts = storm("din 903c7f", "wait 700")
    assert parts[2] == []


def test_active_sensing_that_goes_on_holds_the_notes(storm):
    parts = storm("din 903c7ffe", *["wait 100", "din fe"] * 5)
    assert not any(line.startswith("event") for part in parts[2:-1] for line in part)


def test_sysex_in_pieces_is_one_message_though_others_speak_between(storm):
    tuning = "f07f7f080203" + "01" + "3c3c4000" + "f7"  # a note's tuning: key 60 by half a semitone
    long = "f07d" + "55" * 500 + "f7"
    parts = storm(f"sysex 20 0 {tuning}", f"sysex 20 0 {long}", f"sysex 20 0 {long[:200]}",
                  event(24, NOTE_ON, 0, 60, 127), f"sysex 20 0 {long[200:]}", before=[keys(20), keys(24)])
    assert parts[1] == [f"event {TUNE_KEY} 0 60 0.5 0", f"message {tuning}"]
    assert parts[2] == [f"host {long}"]
    assert parts[3] == []
    assert parts[4] == [f"event {ON} 0 60 1 0", "message 903c7f"]
    assert parts[5] == [f"host {long}"]


# --- the host

def test_every_message_is_copied_and_the_hosts_own_are_marked(storm):
    sent = {"904050": "message", "b00740": "host", "c005": "host", "e00040": "message", "d040": "message",
            "a04050": "message", "fa": "host", "f20102": "host", "f6": "host", "f303": "host", "f17f": "host"}
    parts = storm(*(f"din {message}" for message in sent))
    copies = [line for part in parts[1:] for line in part if not line.startswith("event")]
    assert copies[:len(sent)] == [f"{kind} {message}" for message, kind in sent.items()]


def test_a_host_that_does_not_poll_loses_copies_not_notes(storm):
    flood = "f07d" + "00" * 500 + "f7"
    parts = storm("din " + flood * 3 + "903c7f", *([f"din {flood * 4}"] * 3), "meters")
    assert f"event {ON} 0 60 1 0" in parts[1]
    assert meters(parts[5])["not_copied"] == 0  # it polls after each
    parts = storm("din " + "903c7f903c00" * 340, "meters")
    assert len([line for line in parts[1] if line.startswith("event")]) == 680


def test_maps_blend_and_zones_reach_the_translation(storm):
    parts = storm("map 20 5 0.0 2.0", "din b0147f", "blend 0.25 0.75", "din b0107f", "zone 0 15", "din d040",
                  "zone 5 3")
    assert parts[2][0] == f"event {PARAMETER} 0 5 2 0"
    assert parts[4][0] == f"event {BLEND} 0 0 1 0.75"
    channels = {int(line.split()[2]) for line in parts[6] if line.startswith("event")}
    assert channels == set(range(16))
    assert parts[7] == []


# --- storms

def storm_commands(seed, count):
    rng = np.random.default_rng(seed)
    commands = []
    for _ in range(count):
        client, port = int(rng.integers(16, 40)), int(rng.integers(0, 2))
        dice = rng.integers(0, 10)
        if dice == 0:
            commands.append(f"unplug {client} {rng.integers(-1, 2)}")
        elif dice == 1:
            commands.append("overrun")
        elif dice == 2:
            commands.append(f"sysex {client} {port} {rng.bytes(int(rng.integers(1, 700))).hex()}")
        elif dice == 3:
            commands.append(f"din {rng.bytes(int(rng.integers(1, 200))).hex()}")
        else:
            numbers = rng.integers(-300, 300, 3)
            commands.append(event(client, int(rng.integers(5, 70)), *map(int, numbers), port=port))
    return commands


SANITIZED = [("gcc", ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")), ("clang", ("-fsanitize=thread",))]


@pytest.mark.parametrize(("compiler", "flags"), SANITIZED)
def test_storms_trip_no_sanitizer(storm, compiler, flags):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    storm(*storm_commands(1, 300), "zone 1 4", "map 7 3 0 1", "broken", "meters", compiler=compiler, flags=flags,
          before=[keys(client, port) for client in (16, 20, 24) for port in (0, 1)])
