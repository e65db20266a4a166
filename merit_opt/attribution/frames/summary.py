"""Over samples: means with intervals clustered by medium, and how they move from base to merged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from typing import Any

import numpy as np

from merit_opt.attribution.frames import measures
from merit_opt.attribution.frames.curves import RANDOM, area, shares
from merit_opt.attribution.frames.effects import How
from merit_opt.attribution.frames.record import TARGETS, Record
from merit_opt.attribution.method import Model
from merit_opt.data.suite import Role, Suite
from merit_opt.evaluation.stats import paired_difference

Numbers = dict[str, float]
Records = Mapping[str, Record]
Models = Mapping[Model, Records]
Stat = dict[str, Any]
ROLES: tuple[Role | None, ...] = (None, "TR", "TP")
MASS = ("share", "pointing")
SHAPE = ("entropy", "centre")
CLOSE, LEAST = 0.1, 0.05


@dataclass(frozen=True, slots=True)
class Over:
    """What is summed up over.

    Attributes:
        suite: Of the samples.
        methods: Ways to attribute.
        seed: Of the resampling.
    """

    suite: Suite
    methods: tuple[How, ...]
    seed: int

    def against(self, reference: Numbers, other: Numbers) -> Stat | None:
        """`other` minus `reference`, paired by sample; None where they share none."""
        if not reference.keys() & other.keys():
            return None
        groups = {s.id: s.group_id for s in self.suite.samples}
        return asdict(paired_difference(reference, other, groups, self.seed))

    def mean(self, values: Numbers) -> Stat | None:
        """With its interval, and p of its being 0."""
        return self.against(dict.fromkeys(values, 0.0), values)

    def of_role(self, records: Records, role: Role | None) -> Records:
        """Those of one role; None is all."""
        known = {s.id for s in self.suite.samples if role in (None, self.suite.role(s))}
        return {i: record for i, record in records.items() if i in known}


def evidence(over: Over, models: Models) -> list[dict[str, Any]]:
    """By method, target and role: attribution on evidence frames, above chance and its shift.

    Of samples some of whose frames are evidence. `share` of the positive attribution that lies on
    them, and `pointing`: how often the frame with the greatest attribution is one.
    """
    known: Models = {m: {i: r for i, r in own.items() if _chance(r)} for m, own in models.items()}
    return list(_compared(over, known, MASS)) if any(known.values()) else []


def shape(over: Over, models: Models) -> list[dict[str, Any]]:
    """By method, target and role: `entropy` and `centre` of the positive attribution."""
    return list(_compared(over, models, SHAPE))


def _chance(record: Record) -> float | None:
    return measures.chance(record.evidence)


def _measure(record: Record, name: str, how: str, target: str) -> float | None:
    own = record.attributions[how][target]
    match name:
        case "share":
            return measures.evidence_share(own, record.evidence)
        case "pointing":
            return measures.points(own, record.evidence)
        case "entropy":
            return measures.spread(own)
        case _:
            return measures.centre(own)


def _compared(over: Over, models: Models, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    for how, target, role in product(over.methods, TARGETS, ROLES):
        own = {m: over.of_role(records, role) for m, records in models.items()}
        facts: dict[str, Any] = {"method": how, "target": target, "role": role or "all"}
        for name in names:
            values = {
                m: numbers(records, lambda r, a=(name, how, target): _measure(r, *a))
                for m, records in own.items()
            }
            facts[name] = {m: _told(over, name, values[m], own[m]) for m in own}
            if len(own) == 2:
                facts[name]["shift"] = over.against(values["base"], values["merged"])
        yield facts


def _told(over: Over, name: str, values: Numbers, records: Records) -> Stat:
    found: Stat = {"mean": mean(values), "n": len(values)}
    if name in MASS:
        expected = numbers({i: records[i] for i in values}, _chance)
        found |= {"chance": mean(expected), "above_chance": over.against(expected, values)}
    return found


def agreement(over: Over, models: Models) -> list[dict[str, Any]]:
    """By model and pair of methods: rank correlation over a sample's frames, of the chosen option."""
    return [
        {"model": model, "methods": [one, other], "correlation": over.mean(values)}
        for model, records in models.items()
        for one, other in combinations(over.methods, 2)
        if (values := numbers(records, lambda r, a=one, b=other: _between(r, r, a, b)))
    ]


def redrawn(over: Over, merged: Records, drawn: Records) -> list[dict[str, Any]]:
    """By method: rank correlation with a model whose weights are drawn anew."""
    shared = {i: r for i, r in merged.items() if i in drawn}
    return [
        {"method": how, "correlation": over.mean(values)}
        for how in over.methods
        if (values := numbers(shared, lambda r, h=how: _between(r, drawn[r.sample], h, h)))
    ]


def _between(one: Record, other: Record, how: str, other_how: str) -> float | None:
    return measures.rank_correlation(
        one.attributions[how]["chosen"], other.attributions[other_how]["chosen"]
    )


def curve_areas(over: Over, models: Models) -> list[dict[str, Any]]:
    """By model and order: areas under deletion and insertion curves, against a random order.

    Frames that matter leave a small area when they go first, and a large one when they come first.
    """
    return [
        {"model": model, "method": how}
        | {way: _areas(over, records, how, way) for way in ("deletion", "insertion")}
        for model, records in models.items()
        for how in over.methods
        if any(how in record.curves for record in records.values())
    ]


def curve_points(over: Over, models: Models) -> list[dict[str, Any]]:
    """By model and order, the random one among them: deletion and insertion curves, mean over samples.

    Each is a list of points by the `share` of the frames that are gone, or back, with `mean`, `low`
    and `high`: those of the sample with the most, where the others are read off their curves.
    """
    return [
        {"model": model, "method": order}
        | {way: list(_points(over, own, order, way)) for way in ("deletion", "insertion")}
        for model, records in models.items()
        for order in (*over.methods, RANDOM)
        if (own := _with_curve(records, order))
    ]


def _with_curve(records: Records, order: str) -> Records:
    return {i: r for i, r in records.items() if order in r.curves}


def _points(over: Over, records: Records, order: str, way: str) -> Iterator[Stat]:
    curves = [_curve(record, order, way) for record in records.values()]
    for share in max((at for at, _ in curves), key=len):
        known = (float(np.interp(share, *curve)) for curve in curves)
        if (found := over.mean(dict(zip(records, known, strict=True)))) is not None:
            ends = {key: found[key] for key in ("low", "high", "n")}
            yield {"share": share, "mean": found["estimate"], **ends}


def _areas(over: Over, records: Records, how: str, way: str) -> Stat:
    def areas(order: str) -> Numbers:
        return numbers(_with_curve(records, order), lambda r: area(*_curve(r, order, way)))

    own, random = areas(how), areas(RANDOM)
    return {
        "area": mean(own),
        "random": mean(random),
        "difference": over.against(random, own),
    }


def _curve(record: Record, order: str, way: str) -> tuple[Sequence[float], Sequence[float]]:
    """Of its points the shares of the frames, and the probabilities."""
    own = record.curves[order]
    found = own.deletion if way == "deletion" else own.insertion
    return shares(len(record.spans), len(found)), found


def completeness(models: Models) -> list[dict[str, Any]]:
    """By model: how far integrated gradients are from adding up to what they explain.

    `error` is the mean distance, `gap` the mean size of what is explained, in natural log; `close`
    the share of samples whose sum lies within a tenth of what is explained, or 0.05.
    """
    found: list[dict[str, Any]] = []
    for model, records in models.items():
        own = {i: abs(r.residual) for i, r in records.items() if r.residual is not None}
        if own:
            gaps = {i: abs(records[i].gap) for i in own}
            close = {i: float(own[i] <= max(CLOSE * gaps[i], LEAST)) for i in own}
            found.append(
                {"model": model, "error": mean(own), "gap": mean(gaps), "close": mean(close)}
            )
    return found


def numbers(records: Records, measure: Callable[[Record], float | None]) -> Numbers:
    """Sample id -> measure, where there is one."""
    found = {i: measure(record) for i, record in records.items()}
    return {i: value for i, value in found.items() if value is not None}


def mean(values: Numbers) -> float | None:
    """None of nothing."""
    return sum(values.values()) / len(values) if values else None
