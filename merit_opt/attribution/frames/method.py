"""Which frames a decision rests on, before and after merging."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from merit_opt.attribution.anatomy import Anatomy
from merit_opt.attribution.effects import COMPARING
from merit_opt.attribution.frames import summary as over_samples
from merit_opt.attribution.frames.effects import How
from merit_opt.attribution.frames.explain import Explained, Subject, Ways, explained
from merit_opt.attribution.frames.gradients import Line
from merit_opt.attribution.frames.record import TARGETS, Record
from merit_opt.attribution.frames.summary import Models, Over, Records
from merit_opt.attribution.method import Bench, Found, Model, Shown
from merit_opt.data.media.identity import medium_kind
from merit_opt.data.media.unpacked import shown_path
from merit_opt.data.sample import Media, Sample
from merit_opt.data.select import compact
from merit_opt.data.suite import Suite
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.margins import require_margins
from merit_opt.recipe.intervention import Redraw
from merit_opt.recipe.recipe import Recipe

NAME, SAMPLES = "frames", "frame_samples"
DRAWN = "weights drawn anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Attribution of the chosen and of the right option's log-probability to each frame.

    Attributes:
        methods: Ways to attribute; see `effects.attributed`.
        models: In which models.
        samples: At most so many samples, spread over roles, categories and media.
        steps: Points at which `integrated` takes gradients at first, rounded up to whole fours.
        most_steps: At how many it may, where those do not add up to what is explained.
        curves: At most so many steps of deletion and insertion curves; 0 draws none.
        redrawn: Of how many samples attribution is compared with that in a model whose weights
            are drawn anew; 0 of none.
    """

    methods: tuple[How, ...]
    models: tuple[Model, ...]
    samples: int
    steps: int
    most_steps: int
    curves: int
    redrawn: int

    def __post_init__(self) -> None:
        for name in ("methods", "models"):
            if not getattr(self, name):
                raise UserError(f"method.{name} names at least one, got none")
        for name, least in (("samples", 1), ("steps", 1), ("curves", 0), ("redrawn", 0)):
            if (given := getattr(self, name)) < least:
                raise UserError(f"method.{name} is {least} or more, got {given}")
        if self.most_steps < (least := Line(self.steps, self.most_steps).least):
            raise UserError(
                f"method.most_steps is {least} or more, method.steps={self.steps} in whole fours, got "
                f"{self.most_steps}"
            )

    def require(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> None:
        """See `Method.require`."""
        require_margins(suite, "method=frames")
        if "merged" in self.models and not recipe.merged_layers:
            raise UserError(
                "the recipe merges no layer, so there is no merged model to explain; give "
                "method.models=[base], or another recipe"
            )
        if not self._chosen(suite, seed=0).samples:
            raise UserError(
                f"suite {suite.name} has no question with several options about a video here, so "
                "there are no frames to attribute an answer to; choose a suite of videos"
            )

    def bill(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> str:
        """See `Method.bill`."""
        chosen = len(self._chosen(suite, seed=0).samples)
        return f"{chosen} questions in {' and '.join(self.models)}, frame by frame"

    def run(self, bench: Bench) -> Found:
        """See `Method.run`."""
        suite = self._chosen(bench.suite, bench.seed)
        ways = Ways(self.methods, Line(self.steps, self.most_steps), self.curves, bench.seed)
        found: dict[Model, Explained] = {
            m: explained(bench, suite, ways, Subject(m, bench.of(m))) for m in self.models
        }
        failed = {f"{i} ({m})": why for m, own in found.items() for i, why in own.failed.items()}
        if not any(own.records for own in found.values()):
            raise TrialFailed(f"no sample could be explained: {next(iter(failed.values()))}")
        drawn = self._drawn(bench, suite, ways, found)
        models: dict[Model, Records] = {m: own.records for m, own in found.items()}
        told = _summary(bench, Over(suite, self.methods, bench.seed), models, drawn.records)
        rows = [row for m, own in models.items() for r in own.values() for row in _rows(m, r)]
        facts = [_facts(m, suite, r) for m, own in models.items() for r in own.values()]
        return Found(
            tables={NAME: rows, SAMPLES: facts},
            summary=told,
            shown=_shown(told, tuple(self.models)),
            evaluations=len(found) + bool(drawn.records),
            failed=failed | {f"{i} ({DRAWN})": why for i, why in drawn.failed.items()},
            n=Counter(suite.role(sample) for sample in suite.samples),
        )

    def _chosen(self, suite: Suite, seed: int) -> Suite:
        """Questions with options about videos, evenly of roles, their categories and media."""
        some = suite.only(s.id for s in suite.samples if len(s.options) > 1 and _is_shown(s))
        return compact(some, self.samples, seed, None)

    def _drawn(
        self, bench: Bench, suite: Suite, ways: Ways, found: Mapping[Model, Explained]
    ) -> Explained:
        """The first of the samples in the last of the models, its weights drawn anew."""
        model: Model = self.models[-1]
        known = {i: r.chosen for i, r in found[model].records.items()}
        if not self.redrawn or not known:
            return Explained()
        some = compact(suite.only(known), self.redrawn, bench.seed, None)
        subject = Subject(DRAWN, bench.of(model), Redraw(bench.seed), known)
        return explained(bench, some, ways, subject)


def _is_shown(sample: Sample) -> bool:
    return any(_is_video(medium) for medium in sample.media)


def _is_video(medium: Media) -> bool:
    return medium_kind(shown_path(medium)) != "image"


def _summary(
    bench: Bench,
    over: Over,
    models: Models,
    drawn: Records,
) -> dict[str, Any]:
    parts = {
        "evidence": lambda: over_samples.evidence(over, models),
        "shape": lambda: over_samples.shape(over, models),
        "agreement": lambda: over_samples.agreement(over, models),
        "curves": lambda: over_samples.curve_areas(over, models),
        "points": lambda: over_samples.curve_points(over, models),
        "redrawn": lambda: over_samples.redrawn(over, models[_last(models)], drawn),
        "completeness": lambda: over_samples.completeness(models),
    }
    found: dict[str, Any] = {"samples": {m: len(own) for m, own in models.items()}}
    for done, (name, make) in enumerate(parts.items()):
        bench.reporter.stage(COMPARING, done, len(parts))
        found[name] = make()
    bench.reporter.stage(COMPARING, len(parts), len(parts))
    return found


def _last(models: Mapping[Model, Any]) -> Model:
    return list(models)[-1]


def _rows(model: Model, record: Record) -> Iterator[dict[str, Any]]:
    evidence: Sequence[bool | None] = record.evidence or [None] * len(record.spans)
    for how, by_target in record.attributions.items():
        for target in TARGETS:
            for frame, value in enumerate(by_target[target]):
                start, end = record.spans[frame]
                yield {
                    "sample": record.sample,
                    "model": model,
                    "method": how,
                    "target": target,
                    "frame": frame,
                    "start_s": start,
                    "end_s": end,
                    "evidence": evidence[frame],
                    "attribution": value,
                }


def _facts(model: Model, suite: Suite, record: Record) -> dict[str, Any]:
    sample = next(s for s in suite.samples if s.id == record.sample)
    return {
        "sample": record.sample,
        "model": model,
        "role": suite.role(sample),
        "group": sample.group_id,
        "answer": sample.labels[record.chosen],
        "right": sample.labels[record.right],
        "correct": record.chosen == record.right,
        "log_probabilities": list(record.log_probabilities),
        "gap": record.gap,
        "residual": record.residual,
    }


HEADS = {"share": "share on evidence", "pointing": "top frame on evidence"}


def _shown(told: Mapping[str, Any], models: tuple[Model, ...]) -> Shown:
    """Of the chosen option: on evidence where it is known, else how it lies over time."""
    of_all = [
        one
        for one in told["evidence"] or told["shape"]
        if (one["target"], one["role"]) == ("chosen", "all")
    ]
    names = over_samples.MASS if told["evidence"] else over_samples.SHAPE
    columns = ("method", "", *models, *(["shift"] if len(models) == 2 else []))
    rows = [
        (
            one["method"],
            HEADS.get(name, name),
            *(_value(one[name][m]) for m in models),
            *([_difference(one[name]["shift"])] if len(models) == 2 else []),
        )
        for one in of_all
        for name in names
    ]
    title = "which frames the chosen answer rests on"
    return Shown(title, columns, tuple(rows), tuple(_lines(told)))


def _value(one: Mapping[str, Any]) -> str:
    if one["mean"] is None:
        return "none"
    above = one.get("above_chance")
    more = f" ({one['chance']:.2f}; p {above['p']:.2g})" if above else ""
    return f"{one['mean']:.2f}{more}"


def _difference(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "none"
    return f"{one['estimate']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}], p {one['p']:.2g}"


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    if told["evidence"]:
        yield "in brackets: what chance gives, and p of lying above it"
    for one in told["agreement"]:
        rho = one["correlation"]
        names = " and ".join(one["methods"])
        yield f"{names} ({one['model']}): rank correlation {_interval(rho)}"
    for one in told["redrawn"]:
        rho = one["correlation"]
        yield f"{one['method']} with weights drawn anew: rank correlation {_interval(rho)}"
    for one in told["completeness"]:
        yield _completeness_line(one)


def _completeness_line(one: Mapping[str, Any]) -> str:
    added = (
        f"integrated ({one['model']}): for {one['close']:.0%} of the samples it adds up to what it "
        "explains, within a tenth"
    )
    if one["close"] == 1.0:
        return added
    return (
        f"{added}; for the others it says little (residual in {SAMPLES}.parquet), and more "
        "method.most_steps may bring them closer"
    )


def _interval(one: Mapping[str, Any]) -> str:
    return f"{one['estimate']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"
