"""What reading media in processes that can be killed costs, and what becomes of broken media.

python experiments/0005-media-pipeline/run.py [--clips N] [--rounds N] [--real FOLDER]
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import decord
import numpy as np

from merit_opt.data.media.decode_pool import DecodePool, MediaSettings
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.video import read_video
from merit_opt.data.sample import Media

PLAN = FramePlan("uniform", 16, 1.0)
LENGTH = 300
MANY, LOOK = 500, 50

Asked = tuple[Media, ...]


def main() -> None:
    """Encode, read in turn, print and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--real", type=Path, help="a folder of more videos to read")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encoder = [sys.executable, str(Path(__file__).with_name("material.py"))]
        subprocess.run([*encoder, name, str(given.clips), str(LENGTH)], check=True)
        paths, odd, bad = (sorted((folder / k).iterdir()) for k in ("whole", "odd", "broken"))
        real = sorted(given.real.iterdir()) if given.real else []
        result = {
            "cores": os.cpu_count(),
            "load before": os.getloadavg()[0],
            "clips": len(paths),
            "speed": speed(folder, paths, given.rounds),
            "memory": memory(folder, paths),
            "decord alone": alone(odd),
            "outcomes": outcomes(folder, [*odd, *bad, *real]),
        }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def asked(paths: Sequence[Path]) -> list[Asked]:
    return [(Media(path, str(path)),) for path in paths]


def pool(folder: Path, media: Sequence[Asked], workers: int) -> DecodePool:
    settings = MediaSettings(workers, 120.0, frames_in_flight=256, decoder="auto")
    return DecodePool(media, PLAN, settings, Quarantine(folder / "quarantine.json"))


def with_pool(folder: Path, paths: Sequence[Path], workers: int) -> int:
    media, frames = asked(paths), 0
    with pool(folder, media, workers) as running:
        for one in media:
            frames += len(running.take(one).frames)
    return frames


def with_decord(paths: Sequence[Path]) -> int:
    """As scripts do: index, count, spread, fetch."""
    frames = 0
    for path in paths:
        reader = decord.VideoReader(str(path), num_threads=1)
        places = np.linspace(0, len(reader) - 1, PLAN.count).round().astype(int)
        frames += len(reader.get_batch(places).asnumpy())
    return frames


def speed(folder: Path, paths: Sequence[Path], rounds: int) -> dict[str, object]:
    """Frames a second, wall and CPU, every way once a round, in an order that turns."""
    ways: dict[str, Callable[[], int]] = {
        "decord": lambda: with_decord(paths),
        "pool of 1": lambda: with_pool(folder, paths, 1),
        "pool of 2": lambda: with_pool(folder, paths, 2),
    }
    with_decord(paths[:4])
    wall: dict[str, list[float]] = {way: [] for way in ways}
    cpu: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds):
        order = [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]
        for way in order:
            begun, used = time.perf_counter(), cpu_seconds()
            frames = ways[way]()
            wall[way].append(frames / (time.perf_counter() - begun))
            cpu[way].append(frames / (cpu_seconds() - used))
    return {
        "frames a second": {way: rounded(found) for way, found in wall.items()},
        "over decord": {way: ratio(wall, way) for way in ways if way != "decord"},
        "over decord, by CPU time": {way: ratio(cpu, way) for way in ways if way != "decord"},
    }


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def ratio(found: dict[str, list[float]], way: str) -> dict[str, object]:
    ratios = [a / b for a, b in zip(found[way], found["decord"], strict=True)]
    return {"median": round(statistics.median(ratios), 3), "all": rounded(ratios)}


def rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]


def memory(folder: Path, paths: Sequence[Path]) -> dict[str, list[float]]:
    """Resident MiB of the process that decodes and of this one, every so many clips."""
    links: list[Path] = []
    for number in range(MANY):
        links.append(folder / f"again-{number:03d}{paths[number % len(paths)].suffix}")
        links[-1].symlink_to(paths[number % len(paths)])
    found: dict[str, list[float]] = {"decoding": [], "asking": []}
    media = asked(links)
    with pool(folder, media, 1) as running:
        for number, one in enumerate(media, 1):
            running.take(one)
            if number % LOOK == 0:
                found["decoding"].append(sum(map(resident, children())))
                found["asking"].append(resident(os.getpid()))
    return found


def children() -> list[int]:
    statuses = {p: p.read_text() for p in Path("/proc").glob("[0-9]*/status")}
    return [int(p.parent.name) for p, s in statuses.items() if f"PPid:\t{os.getpid()}\n" in s]


def resident(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (line,) = (one for one in lines if one.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


def alone(paths: Sequence[Path]) -> dict[str, str]:
    """How many of 16 frames decord alone gets wrong, by what plain decoding gives there."""
    found: dict[str, str] = {}
    for path in paths:
        right = read_video(path, PLAN, decoder="pyav")
        try:
            frames = read_video(path, PLAN, decoder="decord").frames
        except MediaError as error:
            found[path.name] = f"fails: {error.reason.partition('(')[2][:90]}"
            continue
        far = np.abs(frames.astype(int) - right.frames).mean(axis=(1, 2, 3)) > 1.0
        found[path.name] = f"{int(far.sum())} of {len(far)} frames are others"
    return found


def outcomes(folder: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Name -> who read it, and how that went, of every one."""
    found: dict[str, str] = {}
    media = asked(paths)
    with pool(folder, media, 2) as running:
        for path, one in zip(paths, media, strict=True):
            try:
                status = running.take(one).status
                found[path.name] = f"{status} [{status.reader}]"
            except MediaError as error:
                found[path.name] = f"failed: {error.reason}"
    return found


if __name__ == "__main__":
    main()
