"""A reader that obeys a file beside the video, in a process of its own."""

import os
import signal
import time
from dataclasses import replace

from merit_opt.data.media.medium import read_medium
from merit_opt.data.media.status import MediaStatus


def read(media, plan, decoder):
    """Hang, crash or read in part, as the file NAME.act says; NAME.calls grows by a line a call."""
    path = media[0].path
    with path.with_suffix(".calls").open("a") as calls:
        calls.write(f"{os.getpid()}\n")
    act = path.with_suffix(".act")
    what = act.read_text() if act.exists() else ""
    if what == "hang":
        time.sleep(10_000)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    found = read_medium(media, plan, decoder)
    if what == "partial":
        return replace(found, status=MediaStatus("partial", "PyAV", "3 of 16 packets are damaged"))
    return found
