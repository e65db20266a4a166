"""Tables of what attribution to frames found."""

from collections.abc import Iterator, Sequence
from typing import Any

from merit_opt.evaluation.stats import verdict
from merit_opt.reporting.facts import Row
from merit_opt.reporting.tables import Cell, Column, Estimate, Table, p_words

METHODS = {
    "occlusion_hidden": "occlusion (tokens hidden)",
    "occlusion_mean": "occlusion (mean feature)",
    "integrated": "integrated gradients",
    "gradient": "gradient times (feature - baseline)",
}
SHORT = {
    "occlusion_hidden": "occlusion, hidden",
    "occlusion_mean": "occlusion, mean",
    "integrated": "integrated",
    "gradient": "gradient",
}
HEAD = (Column("method", "method"), Column("target", "option"), Column("role", "questions"))
HOW = "Intervals are 95 %, over whole videos; p and intervals are not corrected for their number."


def tables(summary: Row) -> Iterator[Table]:
    """Those of which something was measured."""
    if rows := summary.get("evidence"):
        yield _evidence("share", "Share of positive attribution on evidence frames", rows)
        yield _evidence("pointing", "Pointing game: how often the top frame is evidence", rows)
    if rows := summary.get("shape"):
        yield _shape(rows)
    if rows := summary.get("curves"):
        yield _areas(rows)
    if summary.get("agreement") or summary.get("redrawn"):
        yield _correlations(summary.get("agreement", ()), summary.get("redrawn", ()))


def short_name(method: str) -> str:
    """A method as figures and sentences call it."""
    return SHORT.get(method, method)


def difference_words(found: Row) -> str:
    """A difference in a sentence, with its interval and p."""
    return (
        f"{found['estimate']:+.3f} (95 % interval {found['low']:+.3f} to {found['high']:+.3f}, "
        f"{p_words(found['p'])})"
    )


def verdict_of(found: Row) -> str:
    """Whether a difference is significant."""
    return verdict(found["low"], found["high"], found["p"])


def _stat(found: Any) -> tuple[Cell, Cell, Cell]:
    """Estimate, p and verdict; unknown where nothing was compared."""
    if not found:
        return None, None, None
    ends = Estimate(found["estimate"], found["low"], found["high"])
    return ends, found["p"], verdict_of(found)


def _compared(key: str, title: str) -> tuple[Column, Column, Column]:
    return (
        Column(key, title, "signed"),
        Column(f"{key}_p", "p", "p"),
        Column(f"{key}_verdict", "verdict"),
    )


def _evidence(name: str, title: str, rows: Sequence[Row]) -> Table:
    columns = (
        *HEAD,
        Column("n", "n", "count"),
        Column("chance", "chance", "share"),
        Column("base", "base", "share"),
        *_compared("base_above", "base - chance"),
        Column("merged", "merged", "share"),
        *_compared("merged_above", "merged - chance"),
        *_compared("shift", "merged - base"),
    )
    return Table(f"frames-{name}", title, columns, tuple(_told(r, r[name]) for r in rows), HOW)


def _told(row: Row, own: Row) -> tuple[Cell, ...]:
    base, merged = own.get("base", {}), own.get("merged", {})
    one = base or merged
    return (
        short_name(row["method"]),
        row["target"],
        row["role"],
        one.get("n"),
        one.get("chance"),
        base.get("mean"),
        *_stat(base.get("above_chance")),
        merged.get("mean"),
        *_stat(merged.get("above_chance")),
        *_stat(own.get("shift")),
    )


def _shape(rows: Sequence[Row]) -> Table:
    names = ("entropy", "centre")
    columns = [*HEAD, Column("n", "n", "count")]
    for name in names:
        columns += [Column(f"{name}_{m}", f"{name}, {m}", "share") for m in ("base", "merged")]
        columns += _compared(f"{name}_shift", "merged - base")
    cells = tuple(
        (
            short_name(row["method"]),
            row["target"],
            row["role"],
            _count(row["entropy"]),
            *(cell for name in names for cell in _moved(row[name])),
        )
        for row in rows
    )
    note = (
        "Entropy of the positive attribution: 0 is one frame, 1 all alike. Centre of its mass: 0 is the "
        f"first frame, 1 the last. {HOW}"
    )
    title = "Where attribution lies over the video"
    return Table("frames-shape", title, tuple(columns), cells, note)


def _count(own: Row) -> Cell:
    return (own.get("base") or own.get("merged") or {}).get("n")


def _moved(own: Row) -> tuple[Cell, ...]:
    means = (own.get(model, {}).get("mean") for model in ("base", "merged"))
    return *means, *_stat(own.get("shift"))


def _areas(rows: Sequence[Row]) -> Table:
    ways = ("deletion", "insertion")
    columns = [Column("method", "method"), Column("model", "model")]
    for way in ways:
        columns += [Column(way, f"{way}, area", "share")]
        columns += [Column(f"{way}_random", "random order's", "share")]
        columns += _compared(f"{way}_difference", "area - random's")
    cells = tuple(
        (
            short_name(one["method"]),
            one["model"],
            *(cell for way in ways for cell in _area(one[way])),
        )
        for one in rows
    )
    note = (
        "Probability of the chosen option, mean over the share of frames. Attribution that means "
        f"something has a smaller deletion area and a greater insertion area than a random order. {HOW}"
    )
    return Table("frames-curves", "Deletion and insertion: areas", tuple(columns), cells, note)


def _area(own: Row) -> tuple[Cell, ...]:
    return own["area"], own["random"], *_stat(own.get("difference"))


def _correlations(agreement: Sequence[Row], redrawn: Sequence[Row]) -> Table:
    columns = (
        Column("method", "method"),
        Column("other", "with"),
        Column("model", "model"),
        Column("n", "n", "count"),
        *_compared("correlation", "rank correlation"),
    )
    pairs: list[tuple[str, str, str | None, Row]] = [
        (*one["methods"], one["model"], one["correlation"]) for one in agreement
    ]
    pairs += [
        (one["method"], "itself, weights drawn anew", None, one["correlation"]) for one in redrawn
    ]
    cells = tuple(
        (short_name(method), short_name(other), model, found["n"], *_stat(found))
        for method, other, model, found in pairs
        if found
    )
    note = (
        "Spearman's, over a sample's frames, mean over samples. Methods that agree lie near 1; with "
        f"weights drawn anew it should lie near 0. {HOW}"
    )
    return Table(
        "frames-agreement", "How far methods agree, and with drawn weights", columns, cells, note
    )
