"""All samples in one model, video by video: found before, or explained and kept."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

import torch

from merit_opt.attribution.frames.asked import Asked
from merit_opt.attribution.frames.curves import Curves, curves, orders
from merit_opt.attribution.frames.effects import Attributed, How, attributed
from merit_opt.attribution.frames.gradients import Line
from merit_opt.attribution.frames.record import TARGETS, Record, Records
from merit_opt.attribution.method import Bench
from merit_opt.data.sample import Number, Sample
from merit_opt.data.suite import Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.engine import Live
from merit_opt.models.frames import frame_tokens
from merit_opt.models.pack import Pack
from merit_opt.recipe.intervention import Redraw
from merit_opt.recipe.recipe import Recipe

PICTURE = "it shows a still image, which has no frames"


@dataclass(frozen=True, slots=True)
class Ways:
    """How frames are told apart.

    Attributes:
        methods: Ways to attribute.
        line: Of `integrated`.
        groups: At most so many steps of deletion and insertion curves; 0 draws none.
        seed: Of random orders.
    """

    methods: tuple[How, ...]
    line: Line
    groups: int
    seed: int


@dataclass(frozen=True, eq=False, slots=True)
class Subject:
    """A model that is explained.

    Attributes:
        name: For people.
        recipe: What it is made by.
        redraw: How its weights are drawn anew, if they are.
        chosen: Sample id -> option that counts as chosen; None: the one that the model chooses.
    """

    name: str
    recipe: Recipe
    redraw: Redraw | None = None
    chosen: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Explained:
    """Of one model.

    Attributes:
        records: Sample id -> what was found.
        failed: Sample id -> why nothing was.
    """

    records: dict[str, Record] = field(default_factory=dict[str, Record])
    failed: dict[str, str] = field(default_factory=dict[str, str])


def explained(bench: Bench, suite: Suite, ways: Ways, subject: Subject) -> Explained:
    """Every sample of the suite that shows a video, in one model."""
    live = bench.engine.live(subject.recipe, suite, subject.redraw)
    found = Explained(failed=dict(live.excluded))
    kept = Records(bench.engine.cache / "frames")
    stage = f"attributing to frames ({subject.name})"
    for done, pack in enumerate(live.packs):
        bench.reporter.stage(stage, done, len(live.packs))
        own = suite.only(q.id for q in pack.questions)
        key = (*bench.engine.key(subject.recipe, own), _digest(ways, subject, own))
        records = kept.get(key)
        if records is None:
            part = _explained(bench, own, ways, subject, (live, pack))
            found.failed.update(part.failed)
            records = list(part.records.values())
            if not part.failed:
                kept.put(key, records)
        found.records.update({record.sample: record for record in records})
    bench.reporter.stage(stage, len(live.packs), len(live.packs))
    return found


def _digest(ways: Ways, subject: Subject, suite: Suite) -> str:
    evidence = {s.id: s.evidence for s in suite.samples}
    redraw = None if subject.redraw is None else subject.redraw.seed
    own = {s.id: subject.chosen.get(s.id) for s in suite.samples} if subject.chosen else None
    return json.dumps([asdict(ways), evidence, redraw, own])


def _explained(
    bench: Bench, suite: Suite, ways: Ways, subject: Subject, at: tuple[Live, Pack]
) -> Explained:
    """About one video."""
    live, pack = at
    samples = {s.id: s for s in suite.samples}
    frames = frame_tokens(live.pair.family, pack.features)
    if frames is None:
        return Explained(failed=dict.fromkeys(samples, PICTURE))
    asked = Asked(live.pair, pack, frames, samples, suite.asking.scorer)
    found = Explained()
    for record in _fitting(bench, asked, ways, subject):
        if isinstance(record, Record):
            found.records[record.sample] = record
        else:
            found.failed.update(record)
    return found


def _fitting(
    bench: Bench, asked: Asked, ways: Ways, subject: Subject
) -> Iterator[Record | dict[str, str]]:
    """Records, of half the samples at a time where all do not fit; or why there are none."""
    try:
        yield from _records(asked, ways, subject)
        return
    except TrialFailed as failure:
        why = str(failure)
    except torch.OutOfMemoryError as error:
        why = f"out of memory: {error}"
    if len(halves := asked.halves()) < 2:
        yield dict.fromkeys(asked.samples, why)
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    bench.reporter.warn(f"{why}; half of the {len(asked.samples)} samples are asked at a time")
    for half in halves:
        yield from _fitting(bench, half, ways, subject)


def _records(asked: Asked, ways: Ways, subject: Subject) -> list[Record]:
    said = {name: row.tolist() for name, row in asked.answers().items()}
    chosen = {
        name: row.index(max(row)) if subject.chosen is None else subject.chosen[name]
        for name, row in said.items()
    }
    right = {name: right_option(sample) for name, sample in asked.samples.items()}
    places = list(dict.fromkeys((*chosen.items(), *right.items())))
    found: dict[How, Attributed] = {
        how: attributed(asked, how, places, ways.line) for how in ways.methods
    }
    nothing = asked.answers(asked.without_all())
    return [
        Record(
            sample=name,
            chosen=chosen[name],
            right=right[name],
            log_probabilities=tuple(said[name]),
            spans=asked.frames.spans,
            evidence=_evidence(asked, asked.samples[name]),
            attributions={
                how: {
                    target: own[name, option]
                    for target, option in zip(TARGETS, (chosen[name], right[name]), strict=True)
                }
                for how, own in found.items()
            },
            gap=said[name][chosen[name]] - float(nothing[name][chosen[name]]),
            curves=_curves(one, chosen[name], found, ways) if subject.redraw is None else {},
        )
        for one in asked.alone()
        for name in one.samples
    ]


def _curves(
    asked: Asked, option: int, found: Mapping[How, Attributed], ways: Ways
) -> Mapping[str, Curves]:
    if not ways.groups:
        return {}
    (name,) = asked.samples
    own = {how: by_place[name, option] for how, by_place in found.items()}
    drawn = orders(own, asked.frames.count, f"{ways.seed}/{name}")
    return curves(asked, option, drawn, ways.groups)


def _evidence(asked: Asked, sample: Sample) -> tuple[bool, ...]:
    """None of several media, which have no common time."""
    if not sample.evidence or len(sample.media) > 1:
        return ()
    return asked.frames.shows(sample.evidence)


def right_option(sample: Sample) -> int:
    """Index of the right one.

    Raises:
        TypeError: A number is asked for.
    """
    if isinstance(sample.answer, Number):
        raise TypeError(f"sample {sample.id} asks for a number, which has no options")
    return sample.answer
