"""What the sound card plays, recorded from the loopback's other side."""

import subprocess
import threading
import time
import wave
from pathlib import Path

PLAYED, RECORDED = "hw:Loopback,0,0", "hw:Loopback,1,0"
RATE_HZ, CHANNELS = 48_000, 2
FORM_FILE = Path("/proc/asound/Loopback/pcm0p/sub0/hw_params")
OUT = Path("/rig/out")
BYTES = {"S16_LE": 2, "S32_LE": 4}
CHUNK_FRAMES = 1_024
LISTEN_S = 5.0  # after which what sounds still will not end
LOUD = 1e-3  # of full scale: what is heard


class Recording:
    """From its beginning, when it has begun, to its end. `name`: of the WAV file on the share."""

    def __init__(self, name: str) -> None:
        form = dict(line.split(": ") for line in FORM_FILE.read_text().splitlines())["format"]
        self._name, self._bytes = name, BYTES[form]
        self._data = bytearray()
        self._heard_s = 0.0
        self._began = threading.Event()
        self._recorder = subprocess.Popen(
            ["arecord", "-q", "-D", RECORDED, "-t", "raw", "-f", form, "-r", str(RATE_HZ), "-c", str(CHANNELS),
             "--buffer-size=65536", "--period-size=1024"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> "Recording":
        self._reader.start()
        if not self._began.wait(60):
            self._recorder.terminate()
            raise TimeoutError(f"nothing comes from the loopback: {self._recorder.stderr.read()!r}")
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.terminate()
        self._reader.join()
        self._recorder.wait()
        with wave.open(str(OUT / self._name), "wb") as file:
            file.setparams((CHANNELS, self._bytes, RATE_HZ, 0, "NONE", ""))
            file.writeframes(self._data)

    def heard_s(self) -> float:
        """When something was last heard, by time.monotonic; 0: never."""
        return self._heard_s

    def _read(self) -> None:
        while chunk := self._recorder.stdout.read(CHUNK_FRAMES * CHANNELS * self._bytes):
            now_s = time.monotonic()
            self._data += chunk
            peak = max(memoryview(chunk).cast("h" if self._bytes == 2 else "i"), key=abs)
            if abs(peak) > LOUD * 2 ** (8 * self._bytes - 1):
                self._heard_s = now_s
            self._began.set()
