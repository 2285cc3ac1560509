"""What the guest does: it sets up its devices, then calls functions of these modules as the test asks, one at a time.

A request and a reply are lines of JSON on a virtio port. Each call is a process of its own, so none leaves anything
behind in another's memory; what is to stay is a service of systemd's (box.py).
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import devices

PORT = Path("/dev/virtio-ports/rig")


def call(request: dict[str, object]) -> dict[str, object]:
    """Runs a function in a process; gives what it returned, or its output where it failed."""
    command = [sys.executable, __file__, json.dumps(request)]
    ran = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd="/tmp",
                         env={**os.environ, "LC_ALL": "C.UTF-8"})
    if ran.returncode == 0:
        return {"result": json.loads(ran.stdout.splitlines()[-1])}
    return {"error": f"exit {ran.returncode}\n{ran.stdout}{ran.stderr}"}


def main() -> None:
    if len(sys.argv) > 1:
        request = json.loads(sys.argv[1])
        module, function = request["function"].split(".")
        print(json.dumps(getattr(importlib.import_module(module), function)(**request["arguments"])))
        return
    devices.set_up()
    with open(PORT, "r+b", buffering=0) as port:
        port.write(b'{"ready": true}\n')
        for line in port:
            port.write(json.dumps(call(json.loads(line))).encode() + b"\n")


if __name__ == "__main__":
    main()
