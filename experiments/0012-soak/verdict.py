"""What a soak left behind, counted."""

import gc
import json
import os
import statistics
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from crew import STUDY, Crew, Ended
from servers import Mlflow, Postgres

from merit_opt.search.samplers import RETRY_OF, STOPPED
from merit_opt.search.storage.postgres import open_postgres

WARM, GROWTH, FILES = 0.2, 0.05, 3
"""Share of the time that is warm-up; growth of memory beside the study's own history, and of open
files, that is allowed."""
AFTER = 4
"""Trials of one last worker, which ends the study."""
BACK, REFUSED = 60.0, 2
"""Seconds in which a database is back; the exit code of a worker that begins without one."""
KEPT_KIB = 20.0
"""What Optuna may keep of one trial in memory; more would be a record that has grown."""
SHORT = 1200.0
"""Seconds under which a soak says nothing of memory: the warm-up is not over."""
PAGE_OF_RUNS = 1000
FINISHED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class Facts:
    """What was seen from outside.

    Attributes:
        folder: Where the workers ran.
        begun: When.
        seen: Rows of the survivor.
        done: Kind of fault -> when.
        codes: Number of a worker -> its exit code after Ctrl-C.
        ended: Workers that ended unasked.
        orphans: Processes that were there after all workers had ended.
    """

    folder: Path
    begun: datetime
    seen: Sequence[Mapping[str, float]]
    done: Mapping[str, Sequence[float]]
    codes: Mapping[int, int]
    ended: Sequence[Ended]
    orphans: int


def told(postgres: Postgres) -> int:
    """Trials that have ended."""
    try:
        trials = _study(postgres).get_trials(deepcopy=False)
    except KeyError:  # no worker has made it yet
        return 0
    return sum(trial.state.is_finished() for trial in trials)


def verdict(facts: Facts, postgres: Postgres, mlflow: Mlflow, crew: Crew) -> dict[str, Any]:
    """Everything that the soak is for; `amiss` has a sentence for each thing that is not so."""
    before = told(postgres)
    words = [w for w in crew.words if not w.startswith("study.trials=")]
    last = crew.last(["search", *words, f"study.trials={before + AFTER}"])
    page = crew.last(["report", f"study={STUDY}", *storage_words(words)])
    trials = _study(postgres).get_trials(deepcopy=False)
    found: dict[str, Any] = {
        "minutes": round(facts.seen[-1]["seconds"] / 60, 1),
        "faults": {kind: len(times) for kind, times in facts.done.items()},
        "states": dict(Counter(trial.state.name for trial in trials)),
        "workers ended by Ctrl-C with": sorted(facts.codes.values()),
        "workers ended unasked": [asdict(one) for one in facts.ended],
        "decoders on the list": _quarantined(facts.folder),
        "exit code of the last search": last,
        "exit code of the report": page,
        "orphans": facts.orphans,
    }
    amiss = [*_numbers(trials), *_proposals(trials, found)]
    amiss += _runs(trials, mlflow, found)
    amiss += _processes(facts, found, _History.of(postgres))
    amiss += _cache(facts.folder, words, found)
    for what, code in (("last search", last), ("report", page)):
        if code:
            amiss.append(f"the {what} ended with {code}; see {facts.folder / 'last.log'}")
    return found | {"amiss": amiss}


def storage_words(words: Sequence[str]) -> list[str]:
    """Those that say where a study lies."""
    return [w for w in words if w.startswith("storage")]


def _study(postgres: Postgres) -> optuna.Study:
    storage = open_postgres(url=postgres.url("study"), patience=60.0, grace=15.0)
    return optuna.load_study(study_name=STUDY, storage=storage)


def _numbers(trials: Sequence[optuna.trial.FrozenTrial]) -> Iterator[str]:
    """Trials asked are trials ended, each once."""
    if [trial.number for trial in trials] != list(range(len(trials))):
        yield "the trials' numbers are not 0, 1, 2, …"
    if open_ := [trial.number for trial in trials if trial.state.name not in FINISHED]:
        yield f"asked and never ended: {open_[:10]}"


def _proposals(trials: Sequence[optuna.trial.FrozenTrial], found: dict[str, Any]) -> Iterator[str]:
    """The proposal of a worker that was killed is asked again, once for each time."""
    stopped = {t.number for t in trials if STOPPED in t.user_attrs}
    again = Counter(t.user_attrs[RETRY_OF] for t in trials if RETRY_OF in t.user_attrs)
    failed = [t.number for t in trials if t.state.name == "FAIL" and t.number not in stopped]
    found["trials whose worker was killed"] = len(stopped)
    if doubled := sorted(number for number, count in again.items() if count > 1):
        yield f"asked again twice: {doubled[:10]}"
    if lost := sorted(stopped - set(again)):
        yield f"not asked again: {lost[:10]}"
    if failed:
        yield f"failed though no worker was killed: {failed[:10]} ({len(failed)})"


def _runs(
    trials: Sequence[optuna.trial.FrozenTrial], mlflow: Mlflow, found: dict[str, Any]
) -> Iterator[str]:
    """MLflow has each trial that was told, once, with its state."""
    from mlflow import MlflowClient

    client = MlflowClient(mlflow.uri)
    experiment = client.get_experiment_by_name("merit_opt")
    runs: list[Any] = []
    token = None
    while token != "":
        page = client.search_runs(
            [experiment.experiment_id],
            "tags.optuna_trial != ''",
            max_results=PAGE_OF_RUNS,
            page_token=token,
        )
        runs += page
        token = page.token or ""
    found["runs in MLflow"] = len(runs)
    counts = Counter(int(run.data.tags["optuna_trial"]) for run in runs)
    states = {int(run.data.tags["optuna_trial"]): run.data.tags.get("state") for run in runs}
    if doubled := [number for number, count in counts.items() if count > 1]:
        yield f"twice in MLflow: {sorted(doubled)[:10]}"
    told = [trial for trial in trials if STOPPED not in trial.user_attrs]
    if missing := [trial.number for trial in told if trial.number not in counts]:
        yield f"not in MLflow: {missing[:10]} ({len(missing)})"
    wrong = [t.number for t in trials if states.get(t.number, t.state.name) != t.state.name]
    if wrong:
        yield f"in another state in MLflow: {wrong[:10]} ({len(wrong)})"
    if going := [run.info.run_id for run in runs if run.info.status == "RUNNING"]:
        yield f"still running in MLflow: {going[:10]} ({len(going)})"


@dataclass(frozen=True)
class _History:
    """What a worker has to know of the trials so far, all of which Optuna keeps in memory.

    Attributes:
        begun: When each trial began.
        bytes: Of one, in memory.
    """

    begun: Sequence[datetime]
    bytes: float

    @classmethod
    def of(cls, postgres: Postgres) -> "_History":
        study = _study(postgres)
        tracemalloc.start()
        trials = study.get_trials(deepcopy=False)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        begun = [trial.datetime_start for trial in trials if trial.datetime_start]
        return cls(begun, kept / len(trials))

    def grown(self, start: datetime, stop: datetime) -> float:
        """Bytes from one moment to another."""
        return self.bytes * sum(start < moment <= stop for moment in self.begun)


def _processes(facts: Facts, found: dict[str, Any], history: _History) -> Iterator[str]:
    """The survivor neither grows nor gathers open files, and nothing stays behind."""
    if facts.orphans:
        yield f"{facts.orphans} processes outlived the workers"
    if set(facts.codes.values()) != {130}:
        yield f"Ctrl-C ended workers with {sorted(facts.codes.values())}, not all with 130"
    if unasked := [one for one in facts.ended if not _met_no_database(one, facts)]:
        yield f"workers ended unasked: {unasked}"
    if len({row["pid"] for row in facts.seen}) > 1:
        yield "the survivor did not survive"
        return
    end = facts.seen[-1]["seconds"]
    warm = [row for row in facts.seen if row["seconds"] > WARM * end]
    tenth = max(1, len(warm) // 10)
    first, last = (
        {k: statistics.median(row[k] for row in rows) for k in ("seconds", "bytes", "files")}
        for rows in (warm[:tenth], warm[-tenth:])
    )
    kept = history.grown(
        *(facts.begun + timedelta(seconds=row["seconds"]) for row in (first, last))
    )
    growth, beside = (last["bytes"] - first["bytes"], last["bytes"] - first["bytes"] - kept)
    found["survivor"] = {
        "MiB after warm-up": round(first["bytes"] / 2**20, 1),
        "MiB at the end": round(last["bytes"] / 2**20, 1),
        "growth": round(growth / first["bytes"], 4),
        "growth beside the study's history": round(beside / first["bytes"], 4),
        "KiB of history a trial": round(history.bytes / 2**10, 1),
        "open files after warm-up": first["files"],
        "open files at the end": last["files"],
    }
    if end >= SHORT and beside > GROWTH * first["bytes"]:
        yield f"the survivor grew by {beside / first['bytes']:.1%} beside the study's history"
    if history.bytes > KEPT_KIB * 2**10:
        yield f"a trial takes {history.bytes / 2**10:.1f} KiB in memory, of at most {KEPT_KIB:g}"
    if last["files"] - first["files"] > FILES:
        yield f"the survivor gathered {last['files'] - first['files']:.0f} open files"


def _met_no_database(worker: Ended, facts: Facts) -> bool:
    """Such a worker says so as it begins; one that is at work waits."""
    lived = [worker.begun - BACK < away < worker.ended for away in facts.done["database"]]
    return worker.code == REFUSED and any(lived)


def _cache(folder: Path, words: Sequence[str], found: dict[str, Any]) -> Iterator[str]:
    """Features take no more than they may, a 64th aside."""
    [gib] = [float(w.partition("=")[2]) for w in words if w.startswith("engine.features_gib=")]
    files = (folder / "outputs" / "cache" / "features").glob("*.safetensors")
    taken = sum(os.stat(path).st_size for path in files)
    found["features, share of their limit"] = round(taken / (gib * 2**30), 3)
    if taken > gib * 2**30 * (1 + 1 / 64):
        yield f"features take {taken} bytes of {gib * 2**30:.0f}"


def _quarantined(folder: Path) -> int:
    path = folder / "outputs" / "cache" / "quarantine.json"
    return len(json.loads(path.read_text())) if path.exists() else 0
