"""What /proc says of processes."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PAGE, TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
BEGUN = 0.3
"""Seconds of CPU time after which its libraries are loaded."""
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def resident(pid: int) -> int | None:
    """Bytes of memory that are its own: resident, less what it shares with files."""
    with suppress(*GONE):
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * PAGE
    return None


def open_files(pid: int) -> int | None:
    with suppress(*GONE):
        return len(os.listdir(f"/proc/{pid}/fd"))
    return None


def decoders(pid: int) -> Iterator[int]:
    """Its processes that decode and have begun to."""
    with suppress(*GONE):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                decodes = b"decode_worker" in Path(f"/proc/{child}/cmdline").read_bytes()
                if decodes and _cpu_seconds(int(child)) > BEGUN:
                    yield int(child)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def marked(mark: str) -> list[int]:
    """All that run with it in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(*GONE):
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
