"""What a report is made of: plain values, read by whoever asks for one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from merit_opt.recipe.recipe import Part
from merit_opt.tracking.record import ToldStudy

Row = Mapping[str, Any]
Model = Literal["base", "merged"]


@dataclass(frozen=True, slots=True)
class LayerValue:
    """A number about a part of a layer.

    Attributes:
        method: Where it is from, such as `PED-ANOVA` or `distance`.
        part: Of the layer.
        layer: Decoder layer.
        value: The number.
    """

    method: str
    part: Part
    layer: int
    value: float


@dataclass(frozen=True, slots=True)
class Answers:
    """Samples as the unmerged VLM and a merged model answered them.

    Attributes:
        base: Rows of the VLM's samples file.
        merged: Rows of the merged model's, the study's winner where nothing else is said.
        controls: Recipe digest -> rows of that control; without those that were not kept.
    """

    base: Sequence[Row]
    merged: Sequence[Row]
    controls: Mapping[str, Sequence[Row]] = field(default_factory=dict[str, Sequence[Row]])


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A recipe of the study as it was evaluated, on whatever suite.

    Attributes:
        result: result.json of the evaluation.
        answers: Its samples files; None where they are missing.
    """

    result: Row
    answers: Answers | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """A frame that a sample shows.

    Attributes:
        seconds: When.
        pixels: uint8 [height, width, 3], RGB.
        heat: Attribution of the base and of the merged model to the temporal patch that the frame
            is in; empty where it was not measured.
        is_evidence: Whether it shows what the question needs; None where nobody knows.
    """

    seconds: float
    pixels: NDArray[np.uint8]
    heat: Mapping[Model, float] = field(default_factory=dict["Model", float])
    is_evidence: bool | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Flip:
    """A sample whose answer the merge changed.

    Attributes:
        sample: Its id.
        role: TR, TP or other.
        question: What was asked.
        options: Label and words of each option.
        right: The right answer's label.
        answers: The label that each model chose.
        probabilities: Of the options, in their order; empty where they have none.
        frames: In order of time.
        method: Which attribution the frames carry; empty without one.
    """

    sample: str
    role: str
    question: str
    options: tuple[tuple[str, str], ...]
    right: str
    answers: Mapping[Model, str]
    probabilities: Mapping[Model, tuple[float, ...]]
    frames: tuple[Frame, ...]
    method: str = ""


@dataclass(frozen=True, slots=True)
class Flips:
    """What is shown of the samples whose answer the merge changed.

    Attributes:
        shown: At most a dozen.
        missing: Why no frames can be shown, in a sentence; empty where they can.
    """

    shown: tuple[Flip, ...] = ()
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Attribution:
    """What `merit-opt attribute` left of the winner.

    Attributes:
        layers: Rows of scan, mask, gradient and leave_out tables.
        frames: Rows of the attribution to frames.
        runs: result.json of the folder; empty where there is none.
        refused: Why some of it is left out, in sentences.
    """

    layers: Sequence[Row] = ()
    frames: Sequence[Row] = ()
    runs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    refused: tuple[str, ...] = ()

    @property
    def methods(self) -> Mapping[str, Any]:
        """Entries of result.json by method."""
        return self.runs.get("methods", {})


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """One study, as far as it left anything.

    Attributes:
        study: What its storage has.
        result: Its result.json; None where it has not ended.
        answers: Its samples files; None where they are missing.
        evaluations: Of its winner and controls on its pair, on whatever suite.
        attribution: Of its winner.
        importances: Of every coefficient, by evaluator.
        distances: Of the backbone from the VLM.
        flips: Samples whose answer changed.
        settings: Its config.yaml; empty where it is missing.
        commands: What is typed to make it, and what adds to this page, by what it does.
        versions: Of this program.
        libraries: Of whoever writes the page: Python and what its numbers are worked out with.
        measured: Commands of the attribution and the evaluations that are shown.
        missing: What could not be read and why, in sentences.
    """

    study: ToldStudy
    result: Row | None = None
    answers: Answers | None = None
    evaluations: Sequence[Evaluated] = ()
    attribution: Attribution = field(default_factory=Attribution)
    importances: Sequence[LayerValue] = ()
    distances: Sequence[LayerValue] = ()
    flips: Flips = field(default_factory=Flips)
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    commands: Mapping[str, str] = field(default_factory=dict[str, str])
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    libraries: str = ""
    measured: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def score(self) -> str:
        """What the search maximised gains of, such as `probability`; empty where nobody knows."""
        told = self.settings.get("objective", {}).get("score")
        known = re.search(r"score='(\w+)'", self.study.fingerprint.get("objective", ""))
        return str(told or (known.group(1) if known else "")).replace("_", " ")

    @property
    def name(self) -> str:
        """The study's."""
        return self.study.record.name

    @property
    def n_layers(self) -> int:
        """Decoder layers; 0 where no trial was told."""
        return len(self.study.trials[0].recipe.layers) if self.study.trials else 0
