"""What `merit-opt attribute` measured on layers: panels by depth, and tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from merit_opt.evaluation.stats import ALPHA, NOT_SIGNIFICANT, SIGNIFICANT, verdict
from merit_opt.reporting.facts import Attribution, Row
from merit_opt.reporting.figures.layers import Panel, Series
from merit_opt.reporting.tables import Cell, Column, Estimate, Table

UNITS = {
    "accuracy": "Δ accuracy",
    "per coefficient": "nats / coefficient",
    "probability": "Δ probability",
}
ROLES = ("TR", "TP")
SCAN, MASK, LEAVE_OUT = "scan", "mask", "leave_out"
SETS = ("random", "unselected")
FEW = "too few sets"
MASKS = ("inverse_width", "zero", "mean", "revert")
READ: Mapping[str, str] = {
    SCAN: "Scan: this layer alone is merged.",
    MASK: "Mask: this layer's part is put out of action.",
    "gradient": "Gradient: of the mean margin, in nats for a unit of the layer's coefficient.",
    LEAVE_OUT: "Leave out: the layer is taken from the recipe, or added to it.",
}
Key = tuple[str, str, str, str]
"""Method, variant, model and part."""


def panels(rows: Sequence[Row]) -> Iterator[tuple[Key, Panel]]:
    """One for each thing that was done: in accuracy where it was measured."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        if row.get("head_group") is None and row["role"] in ROLES:
            key = (row["method"], row.get("variant") or "", row.get("model") or "", row["part"])
            groups.setdefault(key, []).append(row)
    for key, own in groups.items():
        unit = next((u for u in UNITS if any(_unit(row) == u for row in own)), "")
        kept = [row for row in own if _unit(row) == unit]
        if key[0] == SCAN:
            kept = _at(_coefficients(kept)[-1:], kept)
        if (panel := _panel(key, UNITS[unit], kept)) is not None:
            yield key, panel


def _panel(key: Key, unit: str, rows: list[Row]) -> Panel | None:
    """None without a number. Panels that are to be compared have one scale."""
    tried = _coefficients(rows) if key[0] == SCAN else []
    at = f" · at coefficient {tried[0]:g}" if len(tried) == 1 else ""
    series = tuple(_series(role, rows) for role in ROLES if _of(role, rows))
    shared = " ".join(key) if key[0] == SCAN else " ".join((key[1], key[3]))
    has_peers = key[0] in (SCAN, MASK)
    return Panel(_title(key) + at, unit, series, shared if has_peers else "") if series else None


def scans(rows: Sequence[Row]) -> dict[str, list[Panel]]:
    """Part -> the scan at every coefficient; empty where there is one alone."""
    found: dict[str, list[Panel]] = {}
    scanned = [row for row in rows if row["method"] == SCAN]
    for part in dict.fromkeys(row["part"] for row in scanned):
        own = [row for row in scanned if row["part"] == part]
        if len(tried := _coefficients(own)) > 1:
            at_each = (dict(panels(_at([one], own))).values() for one in tried)
            found[part] = [panel for at_one in at_each for panel in at_one]
    return found


def principal(found: Iterable[tuple[Key, Panel]]) -> list[Panel]:
    """Those that stand beside the recipe: of attention where it is there, and of masks one kind."""
    every = list(found)
    parts = {key[3] for key, _ in every}
    part = "attention" if "attention" in parts or not parts else min(parts)
    masks = [key[1] for key, _ in every if key[0] == MASK and key[3] == part]
    mask = next((name for name in MASKS if name in masks), min(masks, default=""))
    return [p for key, p in every if key[3] == part and (key[0] != MASK or key[1] == mask)]


def masked(found: Iterable[tuple[Key, Panel]]) -> dict[str, list[Panel]]:
    """Part -> every mask of it; empty where there is one kind alone."""
    by_part: dict[str, list[Panel]] = {}
    kinds: set[tuple[str, str]] = set()
    for key, panel in found:
        if key[0] == MASK:
            by_part.setdefault(key[3], []).append(panel)
            kinds.add((key[1], key[3]))
    return by_part if len(kinds) > 1 else {}


def _unit(row: Row) -> str:
    return row.get("unit") or "accuracy"


def _title(key: Key) -> str:
    method, variant, model, part = key
    words = (method, variant, f"{model} model" if model else "", part)
    return " · ".join(word.replace("_", " ") for word in words if word)


def _coefficients(rows: Sequence[Row]) -> list[float]:
    """Those that were tried, the least first."""
    return sorted({row["coefficient"] for row in rows if row.get("coefficient") is not None})


def _at(coefficients: Sequence[float], rows: Sequence[Row]) -> list[Row]:
    """Those of these coefficients; of none, all."""
    if not coefficients:
        return list(rows)
    return [row for row in rows if row.get("coefficient") in coefficients]


def _of(role: str, rows: Sequence[Row]) -> list[Row]:
    found = [row for row in rows if row["role"] == role and row["difference"] is not None]
    return sorted(found, key=lambda row: row["layer"])


def _series(role: str, rows: Sequence[Row]) -> Series:
    own = _of(role, rows)
    has_ends = all(row.get("low") is not None and row.get("high") is not None for row in own)
    return Series(
        label=role,
        layers=tuple(int(row["layer"]) for row in own),
        values=tuple(float(row["difference"]) for row in own),
        lows=tuple(float(row["low"]) for row in own) if has_ends else (),
        highs=tuple(float(row["high"]) for row in own) if has_ends else (),
    )


def effects_table(rows: Sequence[Row]) -> Table:
    """Every row, as it was measured."""
    columns = (
        Column("method", "method"),
        Column("variant", "variant"),
        Column("model", "model"),
        Column("layer", "layer", "count"),
        Column("part", "part"),
        Column("head_group", "head group", "count"),
        Column("coefficient", "coefficient", "number"),
        Column("role", "role"),
        Column("n", "n", "count"),
        Column("difference", "difference", "signed"),
        Column("p", "p", "p"),
        Column("verdict", "verdict"),
        Column("unit", "unit"),
    )
    cells = tuple(
        tuple(
            _ends(row)
            if c.key == "difference"
            else _verdict(row)
            if c.key == "verdict"
            else row.get(c.key)
            for c in columns
        )
        for row in rows
    )
    note = "A positive difference: the intervention raises the role's score. p is not corrected."
    return Table("attribution-layers", "Every intervention on a layer", columns, cells, note)


def _ends(row: Row) -> Cell:
    if row.get("low") is None or row.get("high") is None:
        return row["difference"]
    return Estimate(row["difference"], row["low"], row["high"])


def _verdict(row: Row | None) -> str | None:
    """By interval and p; None where one of them is missing."""
    low, high, p = (None if row is None else row.get(key) for key in ("low", "high", "p"))
    return None if low is None or high is None or p is None else verdict(low, high, p)


def summary_tables(attribution: Attribution) -> Iterator[Table]:
    """Sets of layers, and whether masks cost more once merged, where they were measured."""
    summary = attribution.methods.get(MASK, {}).get("summary", {})
    if sets := [one for one in summary.get("sets", ()) if one.get("unit") == "accuracy"]:
        yield _sets(sets)
    if contributions := summary.get("contributions"):
        yield _contributions(contributions)
    if attribution.methods:
        yield _runs(attribution.methods)


def _sets(sets: Sequence[Row]) -> Table:
    """A row for the recipe's layers against each kind of other sets."""
    columns = (
        Column("variant", "mask"),
        Column("model", "model"),
        Column("part", "part"),
        Column("TR", "TR drop, recipe's layers", "signed"),
        Column("TP", "TP drop", "signed"),
        Column("ratio", "TR drop / TP drop", "number"),
        Column("against", "against"),
        Column("sets", "sets measured", "count"),
        Column("failed", "sets that failed", "count"),
        Column("least_p", "least possible p", "p"),
        Column("mean_TR", "their mean TR drop", "signed"),
        Column("mean_TP", "their mean TP drop", "signed"),
        Column("p", "p of TR", "p"),
        Column("verdict", "verdict of TR"),
        Column("p_beyond", "p of TR beyond TP", "p"),
        Column("verdict_beyond", "verdict of TR beyond TP"),
    )
    rows = tuple(
        (
            one["variant"],
            one["model"],
            one["part"],
            one["selected"]["TR"],
            one["selected"]["TP"],
            one["selected"].get("ratio"),
            f"{kind} layers",
            own.get("sets"),
            own.get("failed", 0),
            least_p(own),
            *((own.get("mean") or {}).get(role) for role in ROLES),
            *_ranked(own, "TR"),
            *_ranked(own, "TR - TP"),
        )
        for one in sets
        for kind in SETS
        for own in [one.get(kind) or {}]
    )
    title = "Masking the recipe's layers together, against other sets of layers"
    return Table("attribution-sets", title, columns, rows, _sets_note(sets))


def _sets_note(sets: Sequence[Row]) -> str:
    kinds = [one.get(kind) or {} for one in sets for kind in SETS]
    lost = sum(own.get("failed", 0) for own in kinds)
    failed = (
        f" {lost} sets could not be measured, most often as the mask destroyed the model: they count "
        "in p as drops at least as great as that of the recipe's layers, and in no mean."
        if lost
        else " Every set could be measured."
    )
    return (
        "Accuracy lost when the layers are masked together; random sets are of any layers, unselected "
        "ones of layers that the recipe does not merge, each of as many layers as the recipe has. p is "
        "the rank of the recipe's layers among the sets, one-sided, not corrected. Significant: p below "
        f"{ALPHA:g}; where the least p that so many sets can say is not, there are {FEW}.{failed}"
    )


def _ranked(own: Row, of: str) -> tuple[Cell, Cell]:
    """The p and its verdict; a rank among sets has no interval."""
    p = (own.get("p") or {}).get(of)
    return (None, None) if p is None else (p, ranked_verdict(own, p))


def ranked_verdict(own: Row, p: float) -> str:
    """By p alone; `too few sets` where no rank among so many could be significant."""
    if (least_p(own) or 0.0) >= ALPHA:
        return FEW
    return SIGNIFICANT if p < ALPHA else NOT_SIGNIFICANT


def least_p(own: Row) -> float | None:
    """What p is where the recipe's layers come first of all; None without sets."""
    count = own.get("sets", 0) + own.get("failed", 0)
    return 1.0 / (1 + count) if count else None


def _contributions(rows: Sequence[Row]) -> Table:
    columns = (
        Column("variant", "mask"),
        Column("part", "part"),
        Column("role", "role"),
        Column("base", "mean drop, base", "signed"),
        Column("merged", "mean drop, merged", "signed"),
        Column("difference", "merged - base", "signed"),
        Column("p", "p", "p"),
        Column("verdict", "verdict"),
        Column("layers_base", "layers that matter, base"),
        Column("layers", "layers that matter, merged"),
    )
    cells = tuple(
        (
            one["variant"],
            one["part"],
            one["role"],
            (one.get("base") or {}).get("mean_drop"),
            (one.get("merged") or {}).get("mean_drop"),
            _estimate(one.get("difference")),
            (one.get("difference") or {}).get("p"),
            _verdict(one.get("difference")),
            _matter(one, "base"),
            _matter(one, "merged"),
        )
        for one in rows
    )
    note = (
        "Accuracy that masking a layer costs, on average over layers, paired over layers; its p is not "
        "corrected. Layers that matter are those whose masking lowers the accuracy after Holm's "
        "correction over the layers."
    )
    title = "Whether each layer contributes more once merged"
    return Table("attribution-contributions", title, columns, cells, note)


def _matter(one: Row, model: str) -> str | None:
    """Layers, in words; None where the model was not masked."""
    if one.get(model) is None:
        return None
    return ", ".join(map(str, one[model]["layers"])) or "none"


def _estimate(found: Row | None) -> Cell:
    return None if found is None else Estimate(found["estimate"], found["low"], found["high"])


def _runs(methods: Mapping[str, Any]) -> Table:
    columns = (
        Column("method", "method"),
        Column("suite", "suite"),
        Column("split", "split"),
        Column("TR", "TR questions", "count"),
        Column("TP", "TP questions", "count"),
        Column("left_out", "could not be asked", "count"),
        Column("seconds", "seconds", "count"),
        Column("warnings", "warnings"),
    )
    rows = tuple(
        (
            name,
            entry.get("provenance", {}).get("suite"),
            entry.get("provenance", {}).get("split"),
            entry.get("n", {}).get("TR"),
            entry.get("n", {}).get("TP"),
            None if (left_out := entry.get("left_out")) is None else len(left_out),
            entry.get("seconds"),
            "; ".join(entry.get("warnings", ())) or None,
        )
        for name, entry in methods.items()
    )
    return Table("attribution-runs", "What the interventions were measured on", columns, rows)
