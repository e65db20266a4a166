"""Base, winner and controls on samples the search never saw, and on held-out suites."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from merit_opt.evaluation.stats import verdict
from merit_opt.reporting.blocks import Block, Picture, Section, TableBlock, Text
from merit_opt.reporting.facts import Answers, Row, StudyFacts
from merit_opt.reporting.figures.differences import (
    Accuracies,
    Differences,
    draw_accuracies,
    draw_differences,
)
from merit_opt.reporting.held_out import held_out
from merit_opt.reporting.recipes import (
    RANDOM,
    WINNER,
    Against,
    Rival,
    by_roles,
    category_blocks,
    drawn_by_role,
    mean_name,
    not_kept,
    rivals,
    role_blocks,
)
from merit_opt.reporting.summary import confirmed
from merit_opt.reporting.tables import RULE, Cell, Column, Estimate, Table

RECIPES = (
    Column("recipe", "recipe"),
    Column("TR", "TR", "share"),
    Column("TP", "TP", "share"),
    Column("TR_gain", "TR - base", "signed"),
    Column("TP_gain", "TP - base", "signed"),
    Column("objective", "objective", "signed"),
    Column("below_winner", "winner is above by", "share"),
)
NOTE = (
    "Intervals are 95 %, over whole videos. Differences are paired by question: where some could not be "
    "scored, TR and TP are over a recipe's own, and differences over those scored on both sides, so "
    "that a row may not add up."
)


def comparison(facts: StudyFacts) -> Section:
    """The page's second section."""
    return Section("comparison", "Against base and controls", (*_confirm(facts), *held_out(facts)))


def _confirm(facts: StudyFacts) -> Iterator[Block]:
    found = confirmed(facts)
    if found is None:
        yield Text("There is no final comparison yet.", "notice")
        return
    yield Text(
        f"{RULE} TR of the winner and of the search's best recipes is judged by p after Holm's "
        "correction in the first section and in the table of these recipes; nothing else is corrected."
    )
    answers, seed = facts.answers, int(facts.result["seed"]) if facts.result else 0
    known = rivals(found, answers) if answers else ()
    every = by_roles(answers.base, known, seed) if answers else ()
    rows = list(_recipes(found, {one.name: one for one in every}))
    n = found["n"]
    yield _accuracies(rows, n)
    if every:
        yield drawn_by_role(every)
    yield from _gaps(rows)
    title = f"Recipes on confirm: {n['TR']} TR and {n['TP']} TP questions"
    yield TableBlock(Table("recipes", title, RECIPES, tuple(rows), NOTE))
    yield from _missing(facts, found)
    if answers:
        yield from _questions(answers, every, known, seed)
    if found.get("top"):
        yield TableBlock(_top(found["top"]))


def _missing(facts: StudyFacts, found: Row) -> Iterator[Text]:
    for name, why in found.get("failed", {}).items():
        yield Text(f"{name} could not be measured: {why.rstrip('.')}.", "notice")
    if facts.answers is None:
        yield Text("The samples files are missing, so there is nothing by category.", "notice")
    elif lost := not_kept(found, facts.answers):
        some = "any control" if len(lost) == len(found["controls"]) else ", ".join(lost)
        yield Text(
            f"The study did not keep the answers of {some} question by question, as earlier versions "
            "did not: their intervals against the base, McNemar's tests and categories are not known. "
            "To add them, remove result.json from its folder and give the search's command again: it "
            "makes the final comparison once more, and measures only what the cache does not hold.",
            "notice",
        )


def _questions(
    answers: Answers, every: Sequence[Against], known: Sequence[Rival], seed: int
) -> Iterator[Block]:
    yield from role_blocks(every, known, seed)
    yield from category_blocks(answers, known, seed)


def _recipes(found: Row, known: dict[str, Against]) -> Iterator[tuple[Cell, ...]]:
    base = found["base"]
    controls = [c for c in found["controls"] if not c["name"].startswith(RANDOM)]
    drawn = [c for c in found["controls"] if c["name"].startswith(RANDOM)]
    yield _recipe(WINNER, found["best"], base, None, known)
    yield _recipe("base: the VLM as it is", base, base, base.get("gap"), known)
    for control in controls:
        yield _recipe(control["name"], control, base, control["gap"], known)
    if drawn:
        means = {key: fmean(c[key] for c in drawn) for key in ("TR", "TP", "objective")}
        yield _recipe(mean_name(len(drawn)), means, base, found.get("random_layers"), known)


def _recipe(
    name: str, scores: Row, base: Row, gap: Row | None, known: dict[str, Against]
) -> tuple[Cell, ...]:
    tr, tp = scores["TR"], scores["TP"]
    gains: dict[str, Cell] = {"TR": tr - base["TR"], "TP": tp - base["TP"]}
    for group in known[name].groups if name in known else ():
        d = group.difference
        gains[group.name] = Estimate(d.estimate, d.low, d.high)
    ends = None if gap is None else Estimate(gap["estimate"], gap["low"], gap["high"])
    return name, tr, tp, gains["TR"], gains["TP"], scores["objective"], ends


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
                "Objective in accuracy, on the same questions, with 95 % intervals over whole videos. An "
                "empty mark: the interval includes 0. No p is known of an objective."
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


def _top(top: Sequence[Row]) -> Table:
    columns = (
        Column("trial", "trial", "count"),
        Column("search_objective", "objective in search, accuracy", "signed"),
        Column("objective", "objective on confirm, accuracy", "signed"),
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
    note = (
        "Recipes were chosen by the objective in the search, so luck is in it; confirm's is free of that "
        "luck. Both are in accuracy, whatever score the search maximised. p is corrected over these "
        "recipes, intervals are not."
    )
    title = "The search's best recipes, measured again on confirm"
    return Table("top", title, columns, rows, note)


def _estimate(found: Row) -> Estimate:
    return Estimate(found["estimate"], found["low"], found["high"])
