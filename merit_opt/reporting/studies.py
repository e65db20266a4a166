"""Several studies beside one another: over seeds, samplers or pairs."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from statistics import fmean, stdev
from typing import Any

from scipy import stats

from merit_opt.evaluation.stats import SIGNIFICANT
from merit_opt.reporting.blocks import Block, Picture, Section, TableBlock, Text
from merit_opt.reporting.facts import StudyFacts
from merit_opt.reporting.figures.differences import Differences, draw_differences
from merit_opt.reporting.figures.layers import Profiles, Strip, draw_profiles
from merit_opt.reporting.figures.studies import Curves, draw_curves
from merit_opt.reporting.progress import best_so_far
from merit_opt.reporting.summary import confirmed
from merit_opt.reporting.tables import EMPTY, Cell, Column, Estimate, Table

COLUMNS = (
    Column("study", "study"),
    Column("trials", "trials", "count"),
    Column("layers", "layers merged"),
    Column("TR", "TR", "share"),
    Column("TP", "TP", "share"),
    Column("TR_difference", "TR - base", "signed"),
    Column("TP_difference", "TP - base", "signed"),
    Column("objective", "objective", "signed"),
    Column("verdict", "verdict of TR"),
)
FEWEST = 3  # studies that a mean has an interval of


def studies(all_of_them: Sequence[StudyFacts]) -> Section:
    """What they found, and how far they agree."""
    return Section("studies", f"{len(all_of_them)} studies compared", tuple(_blocks(all_of_them)))


def _blocks(found: Sequence[StudyFacts]) -> Iterator[Block]:
    yield TableBlock(
        Table(
            "studies", "What each study's winner does on confirm", COLUMNS, tuple(map(_row, found))
        )
    )
    if table := _aggregate(found):
        yield TableBlock(table)
    if {f.study.fingerprint.get("objective") for f in found} != {_objective(found[0])}:
        yield Text("Their objectives differ, so that values do not compare.", "notice")
    if {f.study.fingerprint.get("confirm samples") for f in found} != {_confirm(found[0])}:
        yield Text("Their confirm samples differ.", "notice")
    known = labels(f.name for f in found)
    curves = tuple(
        (known[f.name], tuple(best_so_far(f.study.trials)), _last(f))
        for f in found
        if f.study.trials
    )
    yield from _differences(found)
    if curves:
        yield Picture(
            name="studies-trials",
            title="Best value so far, study by study",
            caption="By trial, controls included; steps are trials that became the best.",
            alt="Best value so far over trials, a line a study.",
            data=Curves(curves),
            draw=draw_curves,
        )
    yield from _strips(found)


def _differences(found: Sequence[StudyFacts]) -> Iterator[Picture[Differences]]:
    ended = [(f.name, c["difference"]) for f in found if (c := confirmed(f)) is not None]
    if ended:
        known = labels(f.name for f in found)
        rows = [(name, role, d[role]) for role in ("TR", "TP") for name, d in ended]
        yield Picture(
            name="studies-differences",
            title="Winner against base, study by study",
            caption=(
                "Paired differences of accuracy on confirm, with 95 % intervals over whole videos. "
                f"{EMPTY} The p of TR is Holm's."
            ),
            alt="TR and TP difference of each study's winner from the base, with intervals.",
            data=Differences(
                names=tuple(known[name] for name, _, _ in rows),
                estimates=tuple(d["estimate"] for _, _, d in rows),
                lows=tuple(d["low"] for _, _, d in rows),
                highs=tuple(d["high"] for _, _, d in rows),
                verdicts=tuple(d["verdict"] for _, _, d in rows),
                unit="winner - base, accuracy",
                groups=tuple(role for _, role, _ in rows),
            ),
            draw=draw_differences,
        )


def _objective(facts: StudyFacts) -> str | None:
    return facts.study.fingerprint.get("objective")


def _confirm(facts: StudyFacts) -> str | None:
    return facts.study.fingerprint.get("confirm samples")


def _last(facts: StudyFacts) -> int:
    return facts.study.trials[-1].number


def _row(facts: StudyFacts) -> tuple[Cell, ...]:
    best, told = facts.study.best, len(facts.study.trials)
    layers = None if best is None else ", ".join(map(str, best.recipe.merged_layers)) or "none"
    found = confirmed(facts)
    if found is None:
        return facts.name, told, layers, None, None, None, None, None, "not ended"
    winner, differences = found["best"], found["difference"]
    return (
        facts.name,
        told,
        layers,
        winner["TR"],
        winner["TP"],
        _estimate(differences["TR"]),
        _estimate(differences["TP"]),
        winner["objective"],
        differences["TR"]["verdict"],
    )


def _estimate(found: Any) -> Estimate:
    return Estimate(found["estimate"], found["low"], found["high"])


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A number over several studies.

    Attributes:
        mean: Its mean, with a 95 % interval by Student's t; of fewer than three studies, or of
            values that are all alike, there is none.
        spread: Standard deviation over the studies; None of one.
    """

    mean: Cell
    spread: float | None


def over_studies(values: Sequence[float]) -> Aggregate:
    """Of one value a study, at least one."""
    mean = fmean(values)
    if len(values) < 2:
        return Aggregate(mean, None)
    spread = stdev(values)
    if len(values) < FEWEST or min(values) == max(values):
        return Aggregate(mean, spread)
    half = float(stats.t.ppf(0.975, len(values) - 1)) * spread / math.sqrt(len(values))
    return Aggregate(Estimate(mean, mean - half, mean + half), spread)


def _aggregate(found: Sequence[StudyFacts]) -> Table | None:
    ended = [c for f in found if (c := confirmed(f)) is not None]
    if not ended:
        return None
    numbers = {
        "TR - base": [c["difference"]["TR"]["estimate"] for c in ended],
        "TP - base": [c["difference"]["TP"]["estimate"] for c in ended],
        "objective": [c["best"]["objective"] for c in ended],
    }
    significant = sum(_rises(c["difference"]["TR"]) for c in ended)
    rows = tuple(
        (name, len(values), own.mean, own.spread, min(values), max(values))
        for name, values in numbers.items()
        for own in [over_studies(values)]
    )
    columns = (
        Column("number", "number"),
        Column("n", "studies", "count"),
        Column("mean", "mean", "signed"),
        Column("spread", "standard deviation", "share"),
        Column("least", "least", "signed"),
        Column("greatest", "greatest", "signed"),
    )
    note = (
        f"TR rises significantly in {significant} of {len(ended)} studies that ended. Intervals of "
        f"means are Student's t over studies, {FEWEST} or more that differ: they say how searches vary, "
        "not how questions do."
    )
    return Table("studies-mean", "Over the studies", columns, rows, note)


def _rises(difference: Any) -> bool:
    return difference["verdict"] == SIGNIFICANT and difference["estimate"] > 0.0


def _strips(found: Sequence[StudyFacts]) -> Iterator[Block]:
    """The winners by depth, of studies with as many layers, and how often each layer is merged."""
    winners = [(f.name, f.study.best.recipe) for f in found if f.study.best is not None]
    sizes = {len(recipe.layers) for _, recipe in winners}
    if len(sizes) != 1:
        if winners:
            yield Text("Their models differ in depth, so layers do not compare.", "notice")
        return
    (n_layers,) = sizes
    known = labels(f.name for f in found)
    rows: list[Strip] = []
    for name, recipe in winners:
        own = recipe.coefficients() or recipe.coefficients("mlp") or recipe.coefficients("norm")
        rows.append(Strip(known[name], tuple(own.get(i) for i in range(n_layers))))
    shares = [
        sum(i in r.merged_layers for _, r in winners) / len(winners) for i in range(n_layers)
    ]
    always = tuple(i for i, share in enumerate(shares) if share == 1.0)
    yield Picture(
        name="studies-layers",
        title="The winners, layer by layer",
        caption=(
            f"Coefficient by layer, a line a study. Merged by all of them: "
            f"{', '.join(map(str, always)) or 'no layer'}."
        ),
        alt="Coefficients of each study's winner by layer.",
        data=Profiles(n_layers, always, tuple(rows), ()),
        draw=draw_profiles,
    )
    share = tuple((str(i), s) for i, s in enumerate(shares))
    columns = (Column("layer", "layer"), Column("share", "merged by", "share"))
    title = f"Share of the {len(winners)} winners that merge each layer"
    yield TableBlock(Table("studies-stability", title, columns, share), is_long=True)


def labels(names: Iterable[str], most: int = 22) -> dict[str, str]:
    """Name -> what tells it from the others in about `most` letters; names that fit are kept."""
    every = list(dict.fromkeys(names))
    if all(len(name) <= most for name in every):
        return {name: name for name in every}
    head = _shared(every) if len(every) > 1 else 0
    tail = _shared([name[head:][::-1] for name in every]) if len(every) > 1 else 0
    found = [_cut(name, head, tail, most) for name in every]
    if len(set(found)) < len(found):
        found = [f"{i} {label}" for i, label in enumerate(found, 1)]
    return dict(zip(every, found, strict=True))


def _shared(names: Sequence[str]) -> int:
    """Letters that all begin with, whole words of them."""
    letters = takewhile(lambda own: len(set(own)) == 1, zip(*names, strict=False))
    start = "".join(own[0] for own in letters)
    return len(start) - len(re.split(r"[\W_]", start)[-1])


def _cut(name: str, head: int, tail: int, most: int) -> str:
    kept = name[head : len(name) - tail]
    if not kept:
        head, tail, kept = 0, 0, name
    if len(kept) > most - 2:
        kept, head = kept[2 - most :], 1
    return f"{'…' if head else ''}{kept}{'…' if tail else ''}"
