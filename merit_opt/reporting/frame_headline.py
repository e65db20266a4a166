"""How much of the attribution lies on the frames that questions need, against chance, in a sentence."""

from collections.abc import Iterator, Sequence

from merit_opt.evaluation.stats import SIGNIFICANT, verdict
from merit_opt.reporting.blocks import Text
from merit_opt.reporting.facts import Row
from merit_opt.reporting.frame_tables import SHORT
from merit_opt.reporting.tables import p_text

MODELS = ("merged", "base")


def headlines(rows: Sequence[Row]) -> Iterator[Text]:
    """A sentence a model: the range over methods, and each of them against chance.

    Args:
        rows: Of the chosen option over all questions, a method each.
    """
    for model in MODELS:
        known = [
            (row["method"], side)
            for row in rows
            if (side := row["share"].get(model)) and side.get("above_chance")
        ]
        if known:
            yield Text(_told(model, known))


def _told(model: str, known: Sequence[tuple[str, Row]]) -> str:
    means, chances, sizes = (
        sorted({side[key] for _, side in known}) for key in ("mean", "chance", "n")
    )
    share = _range(means, ".3f", " and ")
    share = f"between {share}" if " and " in share else f"of {share}"
    each = "; ".join(f"{SHORT.get(method, method)} {_difference(side)}" for method, side in known)
    apart = sum(_is_apart(side) for _, side in known)
    return (
        f"Of the {model} model's positive attribution a share {share} lies on frames which the "
        f"question needs; chance gives {_range(chances, '.3f', ' to ')} "
        f"(n = {_range(sizes, 'd', ' to ')}). Above chance by {each}: significant by {apart} of "
        f"{len(known)} methods (not corrected)."
    )


def _range(values: Sequence[float], form: str, between: str) -> str:
    return between.join(dict.fromkeys(format(value, form) for value in (values[0], values[-1])))


def _difference(side: Row) -> str:
    found = side["above_chance"]
    p = p_text(found["p"])
    return (
        f"{found['estimate']:+.3f} (95 % interval {found['low']:+.3f} to {found['high']:+.3f}, "
        f"p {p if p.startswith('<') else f'= {p}'})"
    )


def _is_apart(side: Row) -> bool:
    found = side["above_chance"]
    return verdict(found["low"], found["high"], found["p"]) == SIGNIFICANT
