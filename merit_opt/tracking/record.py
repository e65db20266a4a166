"""What is remembered of a study and its trials, and the one interface of whatever keeps it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from merit_opt.recipe.origin import Origin
from merit_opt.recipe.recipe import Recipe

State = Literal["COMPLETE", "PRUNED", "FAIL"]


class TrackingUnavailable(Exception):
    """What was to be kept could not be written now; the study goes on without it.

    The tracker remembers the trials it still owes, and `Tracker.missing` finds them next time.
    """


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One told trial.

    Attributes:
        number: Optuna's trial number.
        state: Optuna's final state.
        role: `trial` for the sampler's proposals, `control` for the rest.
        name: The control's name, such as `uniform:0.5`, or that of a proposal that a warm start
            put first, such as `gradient:3`; empty for the sampler's own.
        recipe: What was measured.
        value: What the search optimises, of two gains their sum; None unless COMPLETE.
        metrics: Accuracies in [0, 1] and their differences from the base, by short name
            (`TR`, `TP`, `objective`); of a pruned trial only `questions`, how many it was asked,
            and `bound`, which its value cannot exceed, where there is one; empty when it failed.
        seconds: Wall time by step (`suggest`, `evaluate`, and `total` of both).
        cost: What measuring took, by short name; empty when the scores were known or it failed.
        why: Why it failed; empty otherwise.
        finished: When it was told; None means now.
        values: What Optuna was told: `value`, or both gains; empty unless COMPLETE.
        feasible: Whether it keeps to the objective's constraints.
        cached: Whether its scores were known, so that it cost nothing.
        switched_on: How many switches of the search space it has on; 0 of a recipe outside it.
        phase: Which part of its search proposed it, of samplers that have parts; else empty.
    """

    number: int
    state: State
    role: Literal["trial", "control"]
    name: str
    recipe: Recipe
    value: float | None
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
    cost: Mapping[str, float]
    why: str = ""
    finished: datetime | None = None
    values: tuple[float, ...] = ()
    feasible: bool = True
    cached: bool = False
    switched_on: int = 0
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a study's proposals had come, at one look at its storage.

    Of two looks the later one has neither a smaller number nor a smaller value, whoever looks.

    Attributes:
        last: Of the complete ones that of the greatest number.
        best: That of the greatest value.
    """

    last: TrialRecord
    best: TrialRecord


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """What identifies a study to its readers.

    Attributes:
        name: The study's name.
        fingerprint: Digest of everything that must not change while it is resumed.
        params: Short facts (pair, suite, space, sampler, seed, trials).
        config: The composed configuration as YAML.
        uid: Drawn once when the study is made: tells it from a later one of the same name.
        origin: The pair that its recipes are found on, for their files; None tells none.
    """

    name: str
    fingerprint: str
    params: Mapping[str, str]
    config: str
    uid: str = ""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class StudyOutcome:
    """What a finished study leaves.

    Attributes:
        note: Markdown, the best score on its first line.
        metrics: Final numbers by name (`confirm.TR`, ...).
        files: Files to keep with the study, such as result.json.
    """

    note: str
    metrics: Mapping[str, float]
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class ToldStudy:
    """A study as its storage has it.

    Attributes:
        record: What identifies it; params and config are not the storage's to know.
        fingerprint: Name -> identity of all that has not changed while it was run.
        states: Optuna's state -> trials, those of dead and of running workers included.
        trials: Those that were told, by number.
        best: Who leads; None where no trial that may win is complete.
        front: Of two gains, numbers of the trials that no other beats in both; empty with one value.
        forked_from: The study whose proposals it began with; None where it began anew.
    """

    record: StudyRecord
    fingerprint: Mapping[str, str]
    states: Mapping[str, int]
    trials: tuple[TrialRecord, ...]
    best: TrialRecord | None
    front: tuple[int, ...]
    forked_from: str | None


class Tracker(Protocol):
    """Keeps studies and trials. Every call may be repeated with the same arguments.

    Every call may raise `TrackingUnavailable`; `start` raises `UserError` for an address that can
    never work.
    """

    def start(self, study: StudyRecord) -> None:
        """Make the study known; before its first trial."""
        ...

    def missing(self, numbers: Iterable[int]) -> set[int]:
        """Those of the told trials `numbers` that are not kept yet."""
        ...

    def log_trial(self, trial: TrialRecord, standing: Standing | None) -> None:
        """Keep one told trial, once per number, and how the study stood then.

        Without a standing no proposal was complete.
        """
        ...

    def log_leader(self, leader: TrialRecord) -> None:
        """Show the trial that leads a study which goes on."""
        ...

    def log_numbers(self, numbers: Mapping[str, float]) -> None:
        """Keep numbers about the study as a whole, such as what a prior cost."""
        ...

    def finish(self, outcome: StudyOutcome) -> None:
        """Close the study with its result."""
        ...

    def attach(self, study: StudyRecord, folder: str, files: Sequence[Path]) -> bool:
        """Keep files with a study that was tracked before, whatever its state.

        Args:
            study: Told by its name, fingerprint and uid.
            folder: Of its files, for these.
            files: On this machine.

        Returns:
            Whether the study is known here; nothing is kept of one that is not.
        """
        ...


class NoTracker:
    """Keeps nothing: `tracking=none`."""

    def start(self, study: StudyRecord) -> None:
        """Nothing to do."""

    def missing(self, numbers: Iterable[int]) -> set[int]:
        """Nothing is ever missing."""
        return set()

    def log_trial(self, trial: TrialRecord, standing: Standing | None) -> None:
        """Nothing to do."""

    def log_leader(self, leader: TrialRecord) -> None:
        """Nothing to do."""

    def log_numbers(self, numbers: Mapping[str, float]) -> None:
        """Nothing to do."""

    def finish(self, outcome: StudyOutcome) -> None:
        """Nothing to do."""

    def attach(self, study: StudyRecord, folder: str, files: Sequence[Path]) -> bool:
        """No study is known."""
        return False
