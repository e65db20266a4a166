"""Workers of one study on servers, for as long as you like, with everything going wrong at times.

    python experiments/0012-soak/run.py --minutes 60

Ends with 1 where something was lost, doubled, grew or stayed behind.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import psycopg
from crew import STUDY, Crew
from drawn import draw
from processes import decoders, open_files, resident
from servers import Mlflow, Postgres
from verdict import Facts, told, verdict

HERE = Path(__file__).parent
WORKERS, SURVIVOR = 4, 0
EVERY = {"worker": 60.0, "database": 600.0, "mlflow": 420.0, "decoder": 480.0}
"""Seconds from one fault of a kind to the next; in a short soak each comes at least twice."""
AWAY, LOOK, SAY = 5.0, 5.0, 60.0
BEGIN = 300.0
"""Most seconds to the survivor's first trial; before it nothing is taken away."""
ENDLESS = 1_000_000
FEATURES_GIB = 0.00035
"""Less than the videos of the search take, so that each new worker decodes some anew."""
WORDS = [
    f"study.name={STUDY}",
    f"study.trials={ENDLESS}",
    "study.random_layers=2",
    "sampler=tpe",
    "suite.clips=100",
    "suite.max_unusable=0.5",
    f"engine.features_gib={FEATURES_GIB}",
    "engine.decode_seconds=10",
    "storage=postgres",
    "storage.grace=15",
    "device=cpu",
]


@dataclass
class Soak:
    """What runs, and what was seen of it.

    Attributes:
        seen: One row a look: seconds, memory and open files of the survivor.
        moment: When it began.
        done: Kind of fault -> seconds at which it was done.
    """

    postgres: Postgres
    mlflow: Mlflow
    crew: Crew
    draws: random.Random
    moment: datetime = field(default_factory=datetime.now)
    seen: list[dict[str, float]] = field(default_factory=list)
    done: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in EVERY})

    @property
    def seconds(self) -> float:
        return self.crew.seconds

    def run(self, seconds: float) -> None:
        faults: dict[str, Callable[[], None]] = {
            "worker": self.kill_worker,
            "database": lambda: self.away(self.postgres),
            "mlflow": lambda: self.away(self.mlflow),
            "decoder": self.hang_decoder,
        }
        every = {kind: min(wanted, seconds / 3) for kind, wanted in EVERY.items()}
        due = dict(every) | {"say": SAY}
        while self.seconds < seconds:
            for kind in [k for k, at in due.items() if at <= self.seconds]:
                if kind == "say":
                    due[kind] += SAY
                    self.say(seconds)
                    continue
                due[kind] += every[kind]
                self.done[kind].append(self.seconds)
                faults[kind]()
            self.crew.mend()
            self.look()
            time.sleep(LOOK)

    def kill_worker(self) -> int:
        number = self.draws.choice([n for n in range(WORKERS) if n != SURVIVOR])
        self.crew.kill(number)
        self.crew.start(number)
        return number

    def away(self, server: Postgres | Mlflow) -> None:
        server.stop()
        time.sleep(AWAY)
        server.start()

    def hang_decoder(self) -> None:
        """Stop a process that decodes for a new worker; no code of ours takes part."""
        process = self.crew.running[self.kill_worker()]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for child in decoders(process.pid):
                os.kill(child, signal.SIGSTOP)
                return
            time.sleep(0.01)
        self.done["decoder"].pop()

    def look(self) -> None:
        pid = self.crew.running[SURVIVOR].pid
        memory, files = resident(pid), open_files(pid)
        if memory is not None and files is not None:
            row = {"seconds": self.seconds, "bytes": memory, "files": files, "pid": pid}
            self.seen.append(row)

    def say(self, seconds: float) -> None:
        counts = ", ".join(f"{kind} {len(times)}" for kind, times in self.done.items())
        left = max(0.0, seconds - self.seconds) / 60
        print(
            f"{self.seconds / 60:.0f} min, {left:.0f} to go: {told(self.postgres)} trials; "
            f"faults so far: {counts}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def measured(postgres: Postgres) -> bool:
    """Whether a trial is complete; tables are looked for only, and made by the workers."""
    try:
        with psycopg.connect(postgres.url("study")) as connection:
            found = connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")
            return found.fetchone() != (0,)
    except psycopg.errors.UndefinedTable:
        return False


@contextmanager
def soaking(folder: Path) -> Iterator[Soak]:
    """Servers and workers, all ended at the end of the block."""
    with ExitStack() as stack:
        postgres = Postgres.begun(folder / "postgres")
        stack.callback(postgres.stop)
        mlflow = Mlflow(postgres.url("mlflow", "postgresql+psycopg"), folder / "mlflow")
        stack.callback(mlflow.stop)
        mlflow.start()
        words = [*WORDS, f'storage.url="{postgres.url("study")}"', f'tracking.uri="{mlflow.uri}"']
        crew = Crew(folder, words, uuid.uuid4().hex)
        stack.callback(crew.kill_all)
        crew.start(SURVIVOR)
        crew.wait(SURVIVOR, BEGIN, lambda: measured(postgres))
        for number in set(range(WORKERS)) - {SURVIVOR}:
            crew.start(number)
        yield Soak(postgres, mlflow, crew, random.Random(0))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--keep", action="store_true", help="result.json and timeline.png here")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="merit-soak-"))
    folder.chmod(0o755)  # the PostgreSQL server is not root's
    print(f"what the workers and servers say: {folder}", flush=True)
    with soaking(folder) as soak:
        soak.run(given.minutes * 60)
        codes = soak.crew.stop()
        orphans = soak.crew.orphans()
        facts = Facts(
            folder=folder,
            begun=soak.moment,
            seen=soak.seen,
            done=soak.done,
            codes=codes,
            ended=tuple(soak.crew.ended),
            orphans=len(orphans),
        )
        found = verdict(facts, soak.postgres, soak.mlflow, soak.crew)
    print(json.dumps(found, indent=1))
    if given.keep:
        (HERE / "result.json").write_text(json.dumps(found, indent=1) + "\n")
        draw(soak.seen, soak.done, HERE / "timeline.png")
    if found["amiss"]:
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
