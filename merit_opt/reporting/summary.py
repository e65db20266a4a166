"""What was asked and what came out, in three sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

from merit_opt.evaluation.stats import verdict
from merit_opt.recipe.recipe import PARTS
from merit_opt.reporting.blocks import Section, Text
from merit_opt.reporting.facts import Row, StudyFacts
from merit_opt.reporting.tables import p_words

SHOWN_LAYERS = 12


def summary(facts: StudyFacts) -> Section:
    """The page's first section."""
    blocks = [Text(words, "lead") for words in (_asked(facts), *_found(facts))]
    notices = [Text(words, "notice") for words in (*_remarks(facts), *facts.missing)]
    return Section("outcome", "What was asked, what came out", (*blocks, *notices))


def confirmed(facts: StudyFacts) -> Mapping[str, Any] | None:
    """The final comparison; None where the study has not ended."""
    return None if facts.result is None else facts.result.get("confirm")


def _asked(facts: StudyFacts) -> str:
    count = len(facts.study.trials)
    layers = f"{facts.n_layers} decoder layers" if facts.n_layers else "decoder layers"
    return (
        f"Asked: which of the {layers} should take back how much of the text backbone's weights, so "
        f"that temporal reasoning (TR) rises and temporal perception (TP) does not fall; "
        f"{count} {'trial was' if count == 1 else 'trials were'} run{_controls(facts)}."
    )


def _controls(facts: StudyFacts) -> str:
    """How many of the trials are controls, in words that follow their number."""
    count = len(facts.study.trials)
    controls = sum(r.role == "control" for r in facts.study.trials)
    if not controls:
        return ""
    if controls == count:
        return ", which is a control" if count == 1 else ", all of them controls"
    return f", {controls} of them {'a control' if controls == 1 else 'controls'}"


def _found(facts: StudyFacts) -> Iterator[str]:
    found = confirmed(facts)
    if facts.result is None or found is None:
        yield from _unfinished(facts)
        return
    differences = found["difference"]
    yield (
        f"On questions about videos that the search never saw, the winner "
        f"({_layers(facts.result['best'])}) changes TR from {found['base']['TR']:.3f} to "
        f"{found['best']['TR']:.3f}: {difference_words(differences['TR'])}; and TP from "
        f"{found['base']['TP']:.3f} to {found['best']['TP']:.3f}: "
        f"{difference_words(differences['TP'])}."
    )
    yield _controls_sentence(found) or _without_controls(facts)


def difference_words(found: Row) -> str:
    """A difference, its interval, its p and what to think of it."""
    low, high = found["low"], found["high"]
    p = found.get("p_holm", found["p"])
    corrected = " after Holm's correction" if "p_holm" in found else ""
    told = found.get("verdict") or verdict(low, high, p)
    return (
        f"{found['estimate']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, "
        f"{p_words(p)}{corrected}, {told}"
    )


def _controls_sentence(found: Row) -> str:
    """How far the winner lies above the best control, and above random layers; empty without."""
    rivals = [c for c in found["controls"] if not c["name"].startswith("random-layers")]
    pieces: list[str] = []
    if rivals:
        best = max(rivals, key=lambda c: c["objective"])
        pieces.append(_gap(f"the best fixed recipe ({best['name']})", best["gap"]))
    if (drawn := found.get("random_layers")) is not None:
        pieces.append(f"on average {_gap('random layers of its size', drawn)}")
    return f"Its objective lies {' and '.join(pieces)}." if pieces else ""


def _without_controls(facts: StudyFacts) -> str:
    if all(r.role == "control" for r in facts.study.trials):
        return "It is a control itself, and no other was measured on these questions."
    return "No control was measured on these questions, so nothing says what choosing layers was worth."


def _gap(of: str, gap: Row) -> str:
    """Above or below what, and how far; no p is known of an objective, so no verdict."""
    holds = "leaves out" if gap["low"] > 0.0 or gap["high"] < 0.0 else "includes"
    side = "below" if gap["estimate"] < 0.0 else "above"
    ends = f"{gap['low']:+.3f} to {gap['high']:+.3f}"
    return (
        f"{side} {of} by {abs(gap['estimate']):.3f} "
        f"(95 % interval of the difference {ends}, which {holds} 0)"
    )


def _layers(best: Row) -> str:
    """Which layers a recipe of result.json merges, in words."""
    keys = {part: "layers" if part == "attention" else f"{part}_layers" for part in PARTS}
    merged = {part: dict(best[key]) for part, key in keys.items() if best.get(key)}
    if not merged:
        return "the VLM as it is, as nothing beat it"
    return "; ".join(f"{part} of {_counted(layers)}" for part, layers in merged.items())


def _counted(layers: Mapping[str, float]) -> str:
    """Which, and how far: one coefficient for all where they are alike."""
    least, most = (f"{c:.3g}" for c in (min(layers.values()), max(layers.values())))
    if len(layers) > SHOWN_LAYERS:
        ends = f" {least}" if least == most else f"s {least} to {most}"
        return f"{len(layers)} layers at coefficient{ends}"
    told = [name if least == most else f"{name} at {c:.3g}" for name, c in layers.items()]
    words = told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"
    shared = f" at coefficient {least}" if least == most else ""
    return f"layer{'s' if len(told) > 1 else ''} {words}{shared}"


def _unfinished(facts: StudyFacts) -> Iterator[str]:
    if facts.result is not None:
        yield "Its result.json has no final comparison, so that nothing is known beyond the search."
    best, states = facts.study.best, facts.study.states
    if best is None:
        told = ", ".join(f"{n} {state}" for state, n in sorted(states.items()) if n)
        yield f"No trial that could win is complete ({told or 'no trial was begun'}), so there is no result."
        return
    yield (
        f"The study has not ended: trial {best.number} leads the search with TR "
        f"{best.metrics['TR']:.3f} and TP {best.metrics['TP']:.3f}, on the very samples that it was "
        "chosen by, so that no interval is honest yet."
    )
    if resume := facts.commands.get("resume"):
        yield f"To end it, and to measure its winner on videos that it never saw: {resume}"


def _remarks(facts: StudyFacts) -> Iterator[str]:
    if facts.result is not None:
        for remark in facts.result.get("remarks", ()):
            yield f"{remark[:1].upper()}{remark[1:]}."
