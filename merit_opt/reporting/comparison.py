"""Base, winner and controls on samples the search never saw, and on held-out suites."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from merit_opt.evaluation.stats import Difference, verdict
from merit_opt.reporting.answers import (
    Compared,
    by_category,
    by_role,
    category_fields,
    compared,
)
from merit_opt.reporting.blocks import Block, Picture, Section, TableBlock, Text, slug
from merit_opt.reporting.facts import Answers, Row, StudyFacts
from merit_opt.reporting.figures.differences import (
    Accuracies,
    Differences,
    draw_accuracies,
    draw_differences,
)
from merit_opt.reporting.summary import confirmed
from merit_opt.reporting.tables import Cell, Column, Estimate, Table

RANDOM = "random-layers"
RECIPES = (
    Column("recipe", "recipe"),
    Column("TR", "TR", "share"),
    Column("TP", "TP", "share"),
    Column("TR_gain", "TR - base", "signed"),
    Column("TP_gain", "TP - base", "signed"),
    Column("objective", "objective", "signed"),
    Column("below_winner", "winner is above by", "share"),
)
GROUPS = (
    Column("questions", "questions"),
    Column("n", "n", "count"),
    Column("base", "base", "share"),
    Column("merged", "winner", "share"),
    Column("difference", "winner - base", "signed"),
    Column("p", "p", "p"),
    Column("gained", "right with winner alone", "count"),
    Column("lost", "right with base alone", "count"),
    Column("mcnemar_p", "McNemar's p", "p"),
    Column("verdict", "verdict"),
)
HOW = (
    "Differences are paired by question, intervals and p are over whole videos. McNemar's exact test "
    "takes questions for independent."
)


def comparison(facts: StudyFacts) -> Section:
    """The page's second section."""
    return Section(
        "comparison", "Against base and controls", (*_confirm(facts), *_held_out(facts))
    )


def _confirm(facts: StudyFacts) -> Iterator[Block]:
    found = confirmed(facts)
    if found is None:
        yield Text("There is no final comparison yet.", "notice")
        return
    rows = list(_recipes(found))
    n = found["n"]
    yield _accuracies(rows, n)
    yield from _gaps(rows)
    yield TableBlock(
        Table(
            name="recipes",
            title=f"Recipes on confirm: {n['TR']} TR and {n['TP']} TP questions",
            columns=RECIPES,
            rows=tuple(rows),
            note="The last column has 95 % intervals over whole videos.",
        )
    )
    for name, why in found.get("failed", {}).items():
        yield Text(f"{name} could not be measured: {why}", "notice")
    if facts.answers is None:
        yield Text("The samples files are missing, so there is nothing by category.", "notice")
    else:
        yield from _groups(facts.answers, int(facts.result["seed"]) if facts.result else 0)
    if found.get("top"):
        yield TableBlock(_top(found["top"]))


def _recipes(found: Row) -> Iterator[tuple[Cell, ...]]:
    base = found["base"]
    controls = [c for c in found["controls"] if not c["name"].startswith(RANDOM)]
    drawn = [c for c in found["controls"] if c["name"].startswith(RANDOM)]
    yield _recipe("winner", found["best"], base, None)
    yield _recipe("base: the VLM as it is", base, base, base.get("gap"))
    for control in controls:
        yield _recipe(control["name"], control, base, control["gap"])
    if drawn:
        means = {key: fmean(c[key] for c in drawn) for key in ("TR", "TP", "objective")}
        name = f"random layers, mean of {len(drawn)}"
        yield _recipe(name, means, base, found.get("random_layers"))


def _recipe(name: str, scores: Row, base: Row, gap: Row | None) -> tuple[Cell, ...]:
    tr, tp = scores["TR"], scores["TP"]
    ends = None if gap is None else Estimate(gap["estimate"], gap["low"], gap["high"])
    return name, tr, tp, tr - base["TR"], tp - base["TP"], scores["objective"], ends


def _accuracies(rows: Sequence[tuple[Any, ...]], n: Row) -> Picture[Accuracies]:
    return Picture(
        name="recipes",
        title="Accuracy of every recipe on confirm",
        caption=(
            "Questions about videos that the search never saw. A recipe is good where both marks lie "
            "far to the right."
        ),
        alt="TR and TP accuracy of the winner, the base and each control, a line each.",
        data=Accuracies(
            names=tuple(row[0] for row in rows),
            TR=tuple(row[1] for row in rows),
            TP=tuple(row[2] for row in rows),
            n=dict(n),
        ),
        draw=draw_accuracies,
    )


def _gaps(rows: Sequence[tuple[Any, ...]]) -> Iterator[Picture[Differences]]:
    known = [(row[0], row[-1]) for row in rows if row[-1] is not None]
    if known:
        yield Picture(
            name="recipes-gaps",
            title="How far the winner's objective lies above each",
            caption=(
                "Objective in accuracy, on the same questions, with 95 % intervals over whole videos; an "
                "empty mark is not significant."
            ),
            alt="Difference of the objective between winner and each recipe, with intervals.",
            data=Differences(
                names=tuple(name for name, _ in known),
                estimates=tuple(gap.value for _, gap in known),
                lows=tuple(gap.low for _, gap in known),
                highs=tuple(gap.high for _, gap in known),
                verdicts=tuple(verdict(gap.low, gap.high) for _, gap in known),
                unit="winner's objective - recipe's",
                groups=("",) * len(known),
            ),
            draw=draw_differences,
        )


def _groups(answers: Answers, seed: int) -> Iterator[Block]:
    roles = compared(answers, by_role, seed)
    yield TableBlock(_group_table("roles", "Winner against base by role", roles))
    for name in category_fields(answers):
        groups = compared(answers, by_category(name), seed)
        yield _differences(f"category-{slug(name)}", f"Winner - base by {name}", groups)
        title = f"Winner against base by {name}"
        yield TableBlock(_group_table(f"category-{slug(name)}", title, groups), is_long=True)


def _group_table(name: str, title: str, groups: Sequence[Compared]) -> Table:
    return Table(name, title, GROUPS, tuple(_group(g) for g in groups), HOW)


def _group(group: Compared) -> tuple[Cell, ...]:
    d, exact = group.difference, group.mcnemar
    return (
        group.name,
        d.n,
        group.base,
        group.merged,
        Estimate(d.estimate, d.low, d.high),
        d.p,
        exact.gained,
        exact.lost,
        exact.p,
        _verdict(d),
    )


def _verdict(d: Difference) -> str:
    return verdict(d.low, d.high, d.p)


def _differences(name: str, title: str, groups: Sequence[Compared]) -> Picture[Differences]:
    return Picture(
        name=name,
        title=title,
        caption=(
            "Paired differences of accuracy with 95 % intervals over whole videos, not corrected for "
            "their number; an empty mark is not significant."
        ),
        alt="Difference of accuracy between winner and base for each category, with intervals.",
        data=Differences(
            names=tuple(f"{g.name} ({g.difference.n})" for g in groups),
            estimates=tuple(g.difference.estimate for g in groups),
            lows=tuple(g.difference.low for g in groups),
            highs=tuple(g.difference.high for g in groups),
            verdicts=tuple(_verdict(g.difference) for g in groups),
            unit="winner - base, accuracy",
            groups=tuple(g.name.partition(":")[0] for g in groups),
        ),
        draw=draw_differences,
    )


def _top(top: Sequence[Row]) -> Table:
    columns = (
        Column("trial", "trial", "count"),
        Column("search_objective", "objective in search", "signed"),
        Column("objective", "objective on confirm", "signed"),
        Column("TR_difference", "TR - base", "signed"),
        Column("p_holm", "p after Holm", "p"),
        Column("verdict", "verdict"),
    )
    rows = tuple(
        (
            one["number"],
            one["search_objective"],
            one["objective"],
            _estimate(one["difference"]),
            one["p_holm"],
            one["verdict"],
        )
        for one in top
    )
    note = "Where the search's number lies above confirm's, it was luck that chose the recipe."
    return Table(
        "top", "The search's best where their luck does not follow them", columns, rows, note
    )


def _estimate(found: Row) -> Estimate:
    return Estimate(found["estimate"], found["low"], found["high"])


def _held_out(facts: StudyFacts) -> Iterator[Block]:
    if not facts.evaluations:
        hint = facts.commands.get("evaluate", "")
        more = f" To add one: {hint}" if hint else ""
        yield Text(f"The winner was not evaluated on another suite.{more}", "notice")
        return
    columns = (
        Column("suite", "suite"),
        Column("role", "questions"),
        *(c for c in GROUPS[1:6]),
        Column("verdict", "verdict"),
    )
    rows = tuple(row for found in facts.evaluations for row in _evaluated(found))
    table = Table("held-out", "Winner against base on other suites", columns, rows, HOW)
    yield TableBlock(table)
    for found in facts.evaluations:
        if shared := len(found.get("searched_media", ())):
            name = found["suite"]["name"]
            yield Text(f"Of suite {name} the search saw {shared} media.", "notice")


def _evaluated(found: Row) -> Iterator[tuple[Cell, ...]]:
    suite = found["suite"]
    for role, raw in found["difference"].items():
        d = Difference(**{key: raw[key] for key in ("estimate", "low", "high", "p", "n")})
        yield (
            f"{suite['name']} ({suite['digest']})",
            role,
            d.n,
            found["base"][role],
            found["scores"][role],
            Estimate(d.estimate, d.low, d.high),
            d.p,
            _verdict(d),
        )
