"""Whether a pair bears out what the papers say of the layers that are merged."""

from collections.abc import Sequence

from merit_opt.evaluation.stats import SIGNIFICANT
from merit_opt.reporting.facts import Attribution, Row
from merit_opt.reporting.interventions import FEW, MASK, ranked_verdict
from merit_opt.reporting.tables import p_words

CLAIM = "that temporal reasoning rests on the merged layers more than on random ones"


def masking(attribution: Attribution) -> str:
    """Whether masking the recipe's layers costs more TR than random sets; empty if not measured."""
    summary = attribution.methods.get(MASK, {}).get("summary", {})
    every = [
        one
        for one in summary.get("sets", ())
        if one.get("unit") == "accuracy" and _p(one) is not None
    ]
    known = [one for one in every if one["model"] == "merged"] or every
    if not known:
        return ""
    told = "; ".join(map(_told, known))
    return (
        f"Masking the recipe's layers together costs {told}. p is one-sided and not corrected. On this "
        f"pair the claim {CLAIM} {_judged(known)}."
    )


def _p(one: Row) -> float | None:
    return ((one.get("random") or {}).get("p") or {}).get("TR")


def _told(one: Row) -> str:
    mean = ((one["random"].get("mean")) or {}).get("TR")
    others = "" if mean is None else f", random sets of as many layers {mean:.3f} on average"
    return (
        f"{one['selected']['TR']:.3f} of TR accuracy by {one['variant'].replace('_', ' ')} masks of "
        f"{one['part']} in the {one['model']} model{others} ({p_words(_p(one) or 0.0)}, "
        f"{_verdict(one)})"
    )


def _verdict(one: Row) -> str:
    return ranked_verdict(one["random"], _p(one) or 0.0)


def _judged(known: Sequence[Row]) -> str:
    """By how many of the masks it is supported."""
    verdicts = [_verdict(one) for one in known]
    if set(verdicts) == {FEW}:
        return "cannot be tested, as there are too few sets"
    count, of = verdicts.count(SIGNIFICANT), len(verdicts)
    if of == 1:
        return "is supported by this mask" if count else "is not supported"
    return f"is supported by {count} of {of} masks" if count else "is not supported by any of them"
