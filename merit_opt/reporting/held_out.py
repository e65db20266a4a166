"""Recipes of a study as they were evaluated: on other suites, or on its own once more."""

from collections.abc import Iterator, Mapping, Sequence

from merit_opt.evaluation.stats import Difference
from merit_opt.reporting.answers import by_category, by_role, category_fields
from merit_opt.reporting.blocks import Block, TableBlock, Text
from merit_opt.reporting.facts import Evaluated, Row, StudyFacts
from merit_opt.reporting.recipes import (
    GROUPS,
    HOW,
    QUESTIONS,
    RECIPE,
    WINNER,
    Rival,
    against,
    cells,
    verdict_of,
)
from merit_opt.reporting.summary import confirmed
from merit_opt.reporting.tables import Cell, Column, Estimate, Table

SUITE = Column("suite", "suite")
ALL = "all"


def held_out(facts: StudyFacts) -> Iterator[Block]:
    """Every evaluation of winner and controls: by role, and by category where samples were kept."""
    hint = facts.commands.get("evaluate", "")
    if not facts.evaluations:
        more = f" To add one: {hint}" if hint else ""
        yield Text(f"No recipe of the study was evaluated on another suite.{more}", "notice")
        return
    names, suites = _names(facts), _suites(facts.evaluations)
    heads = [(_name(o, names), suites[o.result["suite"]["digest"]]) for o in facts.evaluations]
    every = list(zip(heads, facts.evaluations, strict=True))
    seed = int((facts.result or {}).get("seed", 0))
    rows = tuple((*head, *row) for head, one in every for row in _evaluated(one, seed))
    yield TableBlock(
        Table(
            "held-out",
            "Recipes against the base, suite by suite",
            (RECIPE, SUITE, QUESTIONS, *GROUPS),
            rows,
            HOW,
        )
    )
    of_kinds = tuple((*head, *row) for head, one in every for row in _by_category(one, seed))
    if of_kinds:
        columns = (RECIPE, SUITE, Column("field", "by"), QUESTIONS, *GROUPS)
        title = "Recipes against the base, suite by suite, by category"
        yield TableBlock(Table("held-out-categories", title, columns, of_kinds, HOW), is_long=True)
    yield from _seen(facts.evaluations, suites)
    if hint and WINNER not in dict(heads):
        yield Text(f"The winner was not evaluated on another suite. To add one: {hint}", "notice")


def _names(facts: StudyFacts) -> Mapping[str, str]:
    """Recipe digest -> what the page calls it."""
    controls = (confirmed(facts) or {}).get("controls", ())
    found = {c["digest"]: c["name"] for c in controls if "digest" in c}
    if facts.study.best is not None:
        found[facts.study.best.recipe.digest] = WINNER
    return found


def _name(one: Evaluated, names: Mapping[str, str]) -> str:
    return names.get(one.result["recipe"], one.result["recipe"])


def _suites(evaluations: Sequence[Evaluated]) -> Mapping[str, str]:
    """Digest -> name, with the digest where two suites have one name."""
    named = {o.result["suite"]["digest"]: o.result["suite"]["name"] for o in evaluations}
    names = list(named.values())
    return {d: name if names.count(name) == 1 else f"{name} ({d})" for d, name in named.items()}


def _evaluated(one: Evaluated, seed: int) -> Iterator[tuple[Cell, ...]]:
    if one.answers is None:
        yield from _told(one.result)
        return
    rival = Rival(WINNER, one.answers.merged)
    for key in (by_role, lambda _: ALL):
        yield from map(cells, against(one.answers.base, rival, key, seed).groups)


def _told(found: Row) -> Iterator[tuple[Cell, ...]]:
    """As the evaluation itself tells it, where its samples are gone: no test by role."""
    for role, raw in found["difference"].items():
        d = Difference(**{key: raw[key] for key in ("estimate", "low", "high", "p", "n")})
        sides = found["base"][role], found["scores"][role]
        ends = Estimate(d.estimate, d.low, d.high)
        yield (role, d.n, *sides, ends, d.p, None, None, None, verdict_of(d))


def _by_category(one: Evaluated, seed: int) -> Iterator[tuple[Cell, ...]]:
    if one.answers is None:
        return
    for field in category_fields(one.answers):
        rival = Rival(WINNER, one.answers.merged)
        for group in against(one.answers.base, rival, by_category(field), seed).groups:
            yield (field, *cells(group))


def _seen(evaluations: Sequence[Evaluated], suites: Mapping[str, str]) -> Iterator[Text]:
    counts = {
        one.result["suite"]["digest"]: len(shared)
        for one in evaluations
        if (shared := one.result.get("searched_media", ()))
    }
    for digest, count in counts.items():
        yield Text(f"Of suite {suites[digest]} the search saw {count} media.", "notice")
