"""The first-order screen: what a little of the backbone, here or there, would do to the margins."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from merit_opt.data.sample import Sample
from merit_opt.data.suite import Role, Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.margins import margin, require_margins
from merit_opt.evaluation.prepare import EngineReporter
from merit_opt.models.alignment import AlignedTensor
from merit_opt.models.gradient import Backbone, Slopes, backbone_of, passed, slopes
from merit_opt.models.pack import Pack, pack
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.recipe import Part

STAGE = "differentiating (media)"


@dataclass(frozen=True, slots=True)
class Screen:
    """Derivatives of mean margins with respect to merge coefficients, at the live model.

    Attributes:
        slopes: Role -> tensor -> derivative of the role's mean margin (natural log) with respect
            to the tensor's coefficient: 0 the VLM's values, 1 the backbone's.
        margins: Role -> mean margin where the derivative was taken.
        samples: Role -> how many samples it is a mean over.
        seconds: Of it all.
        forward_seconds: Of that, putting every question through every layer once, which is what
            a full evaluation does.
    """

    slopes: Mapping[Role, Slopes]
    margins: Mapping[Role, float]
    samples: Mapping[Role, int]
    seconds: float
    forward_seconds: float

    @property
    def bill(self) -> float:
        """Its cost in full evaluations of the same samples."""
        return self.seconds / self.forward_seconds

    def total(self, role: Role, wanted: Callable[[AlignedTensor], bool]) -> float:
        """Of moving all wanted tensors together; 0 where the role has no sample."""
        own = self.slopes.get(role, {})
        return math.fsum(slope for tensor, slope in own.items() if wanted(tensor))

    def of(self, role: Role, layer: int, parts: Sequence[Part]) -> float:
        """Of moving these parts of one layer together."""
        return self.total(role, lambda t: t.layer == layer and t.part in parts)


def screen(
    pair: ModelPair,
    suite: Suite,
    packs: Sequence[Pack],
    parts: Sequence[Part],
    reporter: EngineReporter,
) -> Screen:
    """Differentiate the mean margin of each role's samples, pack by pack.

    A pack that does not fit into memory is halved once.

    Args:
        pair: With the live model.
        suite: Whose samples the packs ask.
        packs: What is asked.
        parts: With respect to which parts' coefficients.
        reporter: Is told how it gets on.

    Raises:
        TrialFailed: The model's numbers or their derivatives are not finite, or memory does not
            suffice.
        UserError: The suite's answers have no margin.
    """
    require_margins(suite, "the first-order screen")
    started = time.perf_counter()
    samples = {sample.id: sample for sample in suite.samples}
    asking = _Asking(pair, suite, samples, backbone_of(pair, parts))
    sums = _Sums(seconds=time.perf_counter() - started)
    for done, one in enumerate(packs):
        reporter.stage(STAGE, done, len(packs))
        sums.add(_screened(asking, one, reporter))
    reporter.stage(STAGE, len(packs), len(packs))
    return sums.means()


@dataclass(frozen=True, eq=False, slots=True)
class _Asking:
    """What stays the same from pack to pack."""

    pair: ModelPair
    suite: Suite
    samples: Mapping[str, Sample]
    backbone: Backbone


@dataclass(frozen=True, slots=True)
class _Screened:
    """Of one pack: sums over each role's samples."""

    margins: Mapping[Role, list[float]]
    slopes: Mapping[Role, Slopes]
    seconds: float
    forward_seconds: float


@dataclass
class _Sums:
    """Of all packs so far."""

    margins: dict[Role, list[float]] = field(default_factory=dict[Role, list[float]])
    slopes: dict[Role, dict[AlignedTensor, list[float]]] = field(
        default_factory=dict[Role, dict[AlignedTensor, list[float]]]
    )
    seconds: float = 0.0
    forward_seconds: float = 0.0

    def add(self, found: Sequence[_Screened]) -> None:
        for one in found:
            self.seconds += one.seconds
            self.forward_seconds += one.forward_seconds
            for role, margins in one.margins.items():
                self.margins.setdefault(role, []).extend(margins)
            for role, own in one.slopes.items():
                known = self.slopes.setdefault(role, {})
                for tensor, slope in own.items():
                    known.setdefault(tensor, []).append(slope)

    def means(self) -> Screen:
        samples: dict[Role, int] = {role: len(margins) for role, margins in self.margins.items()}
        return Screen(
            slopes={
                role: {t: math.fsum(parts) / samples[role] for t, parts in own.items()}
                for role, own in self.slopes.items()
            },
            margins={role: math.fsum(m) / samples[role] for role, m in self.margins.items()},
            samples=samples,
            seconds=self.seconds,
            forward_seconds=self.forward_seconds,
        )


def _screened(asking: _Asking, whole: Pack, reporter: EngineReporter) -> list[_Screened]:
    try:
        return [_differentiated(asking, whole)]
    except torch.OutOfMemoryError as error:
        halves = _halves(whole)
        if len(halves) < 2:
            raise TrialFailed(f"out of memory for the gradients of one sample: {error}") from error
    torch.cuda.empty_cache()
    reporter.warn(
        f"out of memory for the gradients of {len(whole.questions)} questions about the medium of "
        f"{whole.questions[0].id} ({whole.rows} tokens); asking half of them at a time"
    )
    try:
        return [_differentiated(asking, half) for half in halves]
    except torch.OutOfMemoryError as error:
        raise TrialFailed(
            f"out of memory for gradients, with half the questions of a medium too: {error}"
        ) from error


def _differentiated(asking: _Asking, asked: Pack) -> _Screened:
    started = time.perf_counter()
    way = passed(asking.pair, asked)
    margins = _numbers(_margins(asking, asked, way.answers))
    forwarded = time.perf_counter()
    found: list[Slopes] = []
    if margins:

        def answer(rows: Sequence[Tensor]) -> list[Tensor]:
            return [torch.stack(own).sum() for _, own in _margins(asking, asked, rows)]

        found = slopes(asking.pair, way, asking.backbone, answer)
    by_role: dict[Role, Slopes] = dict(zip(margins, found, strict=True))
    return _Screened(
        margins=margins,
        slopes=by_role,
        seconds=time.perf_counter() - started,
        forward_seconds=forwarded - started,
    )


def _margins(
    asking: _Asking, asked: Pack, rows: Sequence[Tensor]
) -> Iterator[tuple[Role, list[Tensor]]]:
    """Of each role that the search compares, the margins of its samples in this pack."""
    of_sample: dict[str, list[Tensor]] = {}
    for question, row in zip(asked.questions, rows, strict=True):
        of_sample.setdefault(question.id, []).append(row)
    found: dict[Role, list[Tensor]] = {"TR": [], "TP": []}
    for i, own in of_sample.items():
        role = asking.suite.role(asking.samples[i])
        one = margin(asking.samples[i], own, asking.suite.asking.scorer)
        if role in found and one is not None:
            found[role].append(one)
    return ((role, own) for role, own in found.items() if own)


def _numbers(margins: Iterable[tuple[Role, Sequence[Tensor]]]) -> dict[Role, list[float]]:
    return {role: torch.stack(list(own)).tolist() for role, own in margins}


def _halves(whole: Pack) -> list[Pack]:
    """Two packs of half the samples each, all questions of a sample in one; or all there is."""
    ids = list(dict.fromkeys(question.id for question in whole.questions))
    if len(ids) < 2:
        return [whole]
    first = frozenset(ids[: len(ids) // 2])
    return [
        pack([q for q in whole.questions if (q.id in first) == is_first], whole.features)
        for is_first in (True, False)
    ]
