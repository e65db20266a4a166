"""Readers that misbehave on media of certain names, in a process of their own."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from merit_opt.data.media.decode_pool import DecodePool, MediaSettings
from merit_opt.data.media.decoded import Video
from merit_opt.data.media.frames import FramePlan, Sampling
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaError
from merit_opt.data.sample import Media

HERE = "tests.unit.data.media.bad_decoders"


def named(media, plan, decoder):
    """Does what the file's name says; `log` beside the file grows by a line a call."""
    path = media[0].path
    with (path.parent / "log").open("a") as log:
        log.write(f"{path.stem} {os.getpid()}\n")
    acts = {
        "hangs": lambda: time.sleep(10_000),
        "ignores signals": _ignore_signals,
        "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "crashes once": lambda: _crash_once(path),
        "exits": lambda: os._exit(3),
        "eats memory": lambda: np.ones(2 * 1024**3, dtype=np.uint8),
        "fails": lambda: _fail(path),
        "has a fault": lambda: 1 // 0,
        "prints": lambda: os.write(1, b"what a library says\n" * 10_000),
    }
    acts.get(path.stem, lambda: None)()
    count, size = plan.count, 4
    value = int(path.stem) % 256 if path.stem.isdigit() else 7
    frames = np.full((count, size, size, 3), value, dtype=np.uint8)
    return Video(
        frames, Sampling(tuple(range(count)), count, 1.0, tuple(map(float, range(count))))
    )


def take_one(folder: str):
    """Read one medium through a pool, and write its first value."""
    media = (Media(Path(folder) / "5.mp4", "5"),)
    settings = MediaSettings(workers=1, seconds=60.0, frames_in_flight=8, decoder="auto")
    quarantine = Quarantine(Path(folder) / "quarantine.json")
    plan = FramePlan("uniform", 2, 1.0)
    with DecodePool([media], plan, settings, quarantine, reader=f"{HERE}:named") as pool:
        (Path(folder) / "found").write_text(str(pool.take(media).frames[0, 0, 0, 0]))


def loaded(media, plan, decoder):
    """Fails with the names of all modules imported."""
    raise MediaError(media[0].path, json.dumps(sorted(sys.modules)))


def _ignore_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(10_000)


def _crash_once(path: Path):
    mark = path.with_suffix(".crashed")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _fail(path: Path):
    raise MediaError(path, "no moov atom; download it again")


def confined(media, plan, decoder):
    """Fails with what the system says to sockets, and with the variables it knows."""
    said = {}
    for kind in ("AF_INET", "AF_INET6", "AF_UNIX"):
        try:
            socket.socket(getattr(socket, kind)).close()
            said[kind] = "open"
        except OSError as error:
            said[kind] = error.strerror
    child = "import socket; socket.socket()"
    ended = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True)
    said["child"] = ended.stderr.strip().splitlines()[-1] if ended.returncode else "open"
    core = resource.getrlimit(resource.RLIMIT_CORE)
    answer = {"sockets": said, "variables": sorted(os.environ), "core": core}
    raise MediaError(media[0].path, json.dumps(answer))
