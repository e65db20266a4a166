"""How much of the attribution lies on the frames that questions need, against chance, in a sentence."""

from collections.abc import Iterator, Sequence

from merit_opt.evaluation.stats import SIGNIFICANT
from merit_opt.reporting.blocks import Text
from merit_opt.reporting.facts import Row
from merit_opt.reporting.frame_tables import difference_words, short_name, verdict_of

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
    above = [(short_name(method), side["above_chance"]) for method, side in known]
    each = "; ".join(f"{method} {difference_words(one)}" for method, one in above)
    apart = sum(verdict_of(one) == SIGNIFICANT for _, one in above)
    return (
        f"Of the {model} model's positive attribution a share {share} lies on frames which the "
        f"question needs; chance gives {_range(chances, '.3f', ' to ')} "
        f"(n = {_range(sizes, 'd', ' to ')}). Above chance by {each}: significant by {apart} of "
        f"{len(known)} methods (not corrected)."
    )


def _range(values: Sequence[float], form: str, between: str) -> str:
    return between.join(dict.fromkeys(format(value, form) for value in (values[0], values[-1])))
