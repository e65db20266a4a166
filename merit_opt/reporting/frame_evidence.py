"""What attribution to frames found over all samples: evidence, where it lies, and its checks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from merit_opt.evaluation.stats import SIGNIFICANT
from merit_opt.reporting.blocks import Block, Picture, TableBlock, Text
from merit_opt.reporting.facts import Row
from merit_opt.reporting.figures.curves import FrameCurves, Line, draw_frame_curves
from merit_opt.reporting.figures.differences import Differences, Panels, draw_panels
from merit_opt.reporting.frame_headline import headlines
from merit_opt.reporting.frame_tables import (
    METHODS,
    SHORT,
    difference_words,
    short_name,
    tables,
    verdict_of,
)
from merit_opt.reporting.tables import EMPTY as EMPTY_MARK

MODELS = ("base", "merged")
SHIFT = "merged - base"
WAYS = {"deletion": "removed", "insertion": "put back"}
MASS = {
    "share": "share on evidence frames",
    "pointing": "pointing game",
}
SHAPE = {"entropy": "entropy", "centre": "centre of mass"}
EMPTY = f" {EMPTY_MARK} Nothing is corrected."


def frame_evidence(run: Mapping[str, Any]) -> Iterator[Block]:
    """Figures and tables of one run of `method=frames`.

    Args:
        run: Its entry in result.json.
    """
    summary, where = run.get("summary", {}), run.get("provenance", {})
    counts = summary.get("samples", {})
    told = " and ".join(f"{n} in the {model} model" for model, n in counts.items())
    if told:
        place = f"suite {where.get('suite', 'unknown')}, split {where.get('split', 'unknown')}"
        yield Text(f"Attribution to frames was measured on samples of {place}: {told}.")
    evidence = _of_chosen(summary.get("evidence", ()))
    shape = _of_chosen(summary.get("shape", ()))
    if evidence:
        yield from headlines(evidence)
        yield from _sentences(evidence)
        yield from _evidence(evidence)
    elif shape:
        yield Text(
            "Which frames the questions need is not known here, so this says only where attribution "
            "lies.",
            "notice",
        )
    yield from _shifts(shape)
    yield from _curves(summary)
    yield from (TableBlock(table, is_long=True) for table in tables(summary))
    yield from _completeness(summary.get("completeness", ()))


def _of_chosen(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if (row["target"], row["role"]) == ("chosen", "all")]


def _sentences(rows: Sequence[Row]) -> Iterator[Text]:
    """Whether merging moves attribution, and the top frame, towards the evidence; by method."""
    for name, words in (
        ("share", "The share of attribution that lies on frames which the question needs"),
        ("pointing", "How often the frame with the greatest attribution is one of these"),
    ):
        known = [(row["method"], s) for row in rows if (s := row[name].get("shift"))]
        if known:
            yield Text(f"{words} {_shifted(known)}.")


def _shifted(known: Sequence[tuple[str, Row]]) -> str:
    moved = [(m, s) for m, s in known if verdict_of(s) == SIGNIFICANT]
    if not moved:
        return (
            f"does not change significantly from base to merged, by any of {len(known)} methods "
            "(intervals below)"
        )
    told = "; ".join(f"{short_name(m)} {difference_words(s)}" for m, s in moved)
    left = f"; by the other {n} not significantly" if (n := len(known) - len(moved)) else ""
    return f"changes significantly from base to merged by {told}{left} (not corrected)"


def _evidence(rows: Sequence[Row]) -> Iterator[Picture[Panels]]:
    panels: list[tuple[str, Differences]] = []
    for name, title in MASS.items():
        above = [
            (row["method"], model, stat)
            for row in rows
            for model in MODELS
            if (stat := row[name].get(model, {}).get("above_chance"))
        ]
        panels.append((title, _as_differences(above, "above chance")))
        panels.append((f"{title}, shift", _as_differences(_of_shift(rows, name), SHIFT)))
    yield from _pictured(
        panels,
        name="frames-evidence",
        title="How much of an answer rests on the frames that its question needs",
        caption=(
            "The share of the chosen answer's positive attribution that lies on frames which the question "
            "needs, and how often the frame with the greatest attribution is one (the pointing game): "
            "mean over samples minus what chance gives, and the shift by merging. 95 % intervals over "
            "whole videos." + EMPTY
        ),
        alt="Attribution on evidence frames and pointing game above chance, by method and model.",
    )


def _of_shift(rows: Sequence[Row], name: str) -> list[tuple[str, str, Row]]:
    return [(row["method"], SHIFT, s) for row in rows if (s := row[name].get("shift"))]


def _shifts(rows: Sequence[Row]) -> Iterator[Picture[Panels]]:
    yield from _pictured(
        [(title, _as_differences(_of_shift(rows, n), SHIFT)) for n, title in SHAPE.items()],
        name="frames-shape",
        title="How attribution moves over the video by merging",
        caption=(
            "Shift of the entropy (0 one frame, 1 all alike) and of the centre (0 the first frame, 1 the "
            "last) of the chosen answer's positive attribution. 95 % intervals over whole videos."
            + EMPTY
        ),
        alt="Shift of entropy and centre of mass from base to merged, by method.",
    )


def _pictured(
    found: Sequence[tuple[str, Differences]], *, name: str, title: str, caption: str, alt: str
) -> Iterator[Picture[Panels]]:
    """Panels of what was measured; no picture of nothing."""
    shown = [(head, own) for head, own in found if own.names]
    if shown:
        panels = Panels(tuple(head for head, _ in shown), tuple(own for _, own in shown))
        yield Picture(name, title, caption, alt, panels, draw_panels)


def _as_differences(rows: Sequence[tuple[str, str, Row]], unit: str) -> Differences:
    """Of method, group and a statistic with its interval and p."""
    stats = [stat for _, _, stat in rows]
    return Differences(
        names=tuple(short_name(method) for method, _, _ in rows),
        estimates=tuple(stat["estimate"] for stat in stats),
        lows=tuple(stat["low"] for stat in stats),
        highs=tuple(stat["high"] for stat in stats),
        verdicts=tuple(verdict_of(stat) for stat in stats),
        unit=unit,
        groups=tuple(group for _, group, _ in rows),
    )


def _curves(summary: Row) -> Iterator[Block]:
    """The curves where they were kept, and their areas against a random order."""
    areas = summary.get("curves", ())
    if points := summary.get("points"):
        yield _drawn_curves(points)
    elif areas:
        yield Text(
            "Of deletion and insertion curves this run kept the areas alone. To have the curves drawn, "
            "run method=frames again: what the cache holds is not measured again.",
            "notice",
        )
    if areas:
        yield from _areas(areas)
        yield from _areas_sentence(areas)


def _drawn_curves(points: Sequence[Row]) -> Picture[FrameCurves]:
    models = [m for m in MODELS if any(one["model"] == m for one in points)]
    panels = tuple(
        (
            f"{way}, {model}",
            gone,
            tuple(_line(one, way) for one in points if one["model"] == model),
        )
        for model in models
        for way, gone in WAYS.items()
    )
    return Picture(
        name="frames-curves",
        title="Deletion and insertion of frames, those that support the answer most first",
        caption=(
            "Probability of the chosen option, mean over samples, with 95 % intervals over whole videos "
            "as bands; a row a method, each beside the same random order. Attribution that means something falls faster than a random order when frames "
            "are removed, and rises faster when they are put back."
        ),
        alt="Mean probability of the chosen option while frames are removed or put back.",
        data=FrameCurves(panels),
        draw=draw_frame_curves,
    )


def _line(one: Row, way: str) -> Line:
    points = one[way]
    return Line(
        label=SHORT.get(one["method"], f"{one['method']} order"),
        shares=tuple(point["share"] for point in points),
        means=tuple(point["mean"] for point in points),
        lows=tuple(max(0.0, point["low"]) for point in points),
        highs=tuple(min(1.0, point["high"]) for point in points),
        is_reference=one["method"] not in METHODS,
    )


def _areas(areas: Sequence[Row]) -> Iterator[Picture[Panels]]:
    found = [
        (
            f"{way}: {better} is better",
            _as_differences(
                [(o["method"], o["model"], d) for o in areas if (d := o[way].get("difference"))],
                "area - random order's",
            ),
        )
        for way, better in (("deletion", "below 0"), ("insertion", "above 0"))
    ]
    yield from _pictured(
        found,
        name="frames-areas",
        title="Areas under these curves against a random order",
        caption="Paired by sample, with 95 % intervals over whole videos." + EMPTY,
        alt="Area under deletion and insertion curves minus a random order's, by method and model.",
    )


def _areas_sentence(areas: Sequence[Row]) -> Iterator[Text]:
    """How often the check holds, of all that were made; nothing where none was."""
    checks = [
        verdict_of(d) == SIGNIFICANT and sign * d["estimate"] > 0.0
        for one in areas
        for way, sign in (("deletion", -1.0), ("insertion", 1.0))
        if (d := one[way].get("difference"))
    ]
    if checks:
        yield Text(
            f"By {sum(checks)} of these {len(checks)} checks the order by attribution is significantly "
            "better than a random one (not corrected). Where it is not, nothing here shows that the "
            "attribution says which frames matter."
        )


def _completeness(rows: Sequence[Row]) -> Iterator[Text]:
    for one in rows:
        yield Text(
            f"Integrated gradients ({one['model']}) add up to what they explain within a tenth for "
            f"{one['close']:.0%} of the samples; the mean error is {one['error']:.3f}, of "
            f"{one['gap']:.3f} that is explained."
        )
