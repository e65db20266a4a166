"""Every recipe of the final comparison, question by question: by role and by category."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from merit_opt.evaluation.stats import SIGNIFICANT, Difference, verdict
from merit_opt.reporting.answers import (
    Compared,
    Key,
    by_category,
    by_role,
    category_fields,
    compared,
    mean_rows,
)
from merit_opt.reporting.blocks import Block, Picture, TableBlock, slug
from merit_opt.reporting.facts import Answers, Row
from merit_opt.reporting.figures.differences import Differences, draw_differences
from merit_opt.reporting.figures.matrix import Matrix, draw_matrix
from merit_opt.reporting.tables import EMPTY, Cell, Column, Estimate, Table

RANDOM = "random-layers"
WINNER = "winner"
RECIPE, QUESTIONS = Column("recipe", "recipe"), Column("questions", "questions")


def _sides(reference: Column, one: Column) -> tuple[Column, ...]:
    """Columns of one side against its reference; see `cells`."""
    return (
        Column("n", "n", "count"),
        reference,
        one,
        Column("difference", f"{one.title} - {reference.title}", "signed"),
        Column("p", "p", "p"),
        Column("gained", f"right with {one.title} alone", "count"),
        Column("lost", f"right with {reference.title} alone", "count"),
        Column("mcnemar_p", "McNemar's p", "p"),
        Column("verdict", "verdict"),
    )


GROUPS = _sides(Column("base", "base", "share"), Column("merged", "recipe", "share"))
AGAINST_WINNER = _sides(Column("other", "recipe", "share"), Column("winner", "winner", "share"))
HOW = (
    "Differences are paired by question; intervals and p are over whole videos, not corrected for "
    "their number. McNemar's exact test takes questions for independent."
)
UNCORRECTED = " Unlike the first section's, the winner's TR verdict here is not corrected either."
OF_MEANS = " A mean over several recipes has no McNemar's test."


@dataclass(frozen=True, slots=True)
class Rival:
    """A recipe, or the mean of several, as it answered.

    Attributes:
        name: As the page calls it.
        rows: Of its samples.
        is_mean: Whether their values are means over several recipes.
        is_shown: Whether it is drawn, and compared by category.
    """

    name: str
    rows: Sequence[Row]
    is_mean: bool = False
    is_shown: bool = True


def mean_name(count: int) -> str:
    """What the random-layer controls are called together."""
    return f"random layers, mean of {count}"


def rivals(confirm: Row, answers: Answers) -> tuple[Rival, ...]:
    """Winner, fixed controls, random layers together and one by one; those whose answers are kept."""
    kept = [c for c in confirm["controls"] if c.get("digest") in answers.controls]
    fixed, drawn = (
        [(c["name"], answers.controls[c["digest"]]) for c in kept if _is_drawn(c) is one]
        for one in (False, True)
    )
    found = [Rival(WINNER, answers.merged), *(Rival(*one) for one in fixed)]
    if drawn:
        rows = mean_rows([own for _, own in drawn])
        found.append(Rival(mean_name(len(drawn)), rows, is_mean=True))
    return (*found, *(Rival(*one, is_shown=False) for one in drawn))


def not_kept(confirm: Row, answers: Answers) -> list[str]:
    """Controls whose answers to single questions are not known."""
    return [c["name"] for c in confirm["controls"] if c.get("digest") not in answers.controls]


def _is_drawn(control: Row) -> bool:
    return control["name"].startswith(RANDOM)


@dataclass(frozen=True, slots=True)
class Against:
    """A recipe against another, group by group.

    Attributes:
        name: The recipe's.
        groups: By name.
        is_shown: See `Rival`.
    """

    name: str
    groups: tuple[Compared, ...]
    is_shown: bool


def against(reference: Sequence[Row], one: Rival, key: Key, seed: int) -> Against:
    """One recipe minus the reference."""
    groups = compared(Answers(reference, one.rows), key, seed)
    if one.is_mean:
        groups = tuple(replace(group, mcnemar=None) for group in groups)
    return Against(one.name, groups, one.is_shown)


def by_roles(base: Sequence[Row], found: Sequence[Rival], seed: int) -> tuple[Against, ...]:
    """Each against the base, by role."""
    return tuple(against(base, one, by_role, seed) for one in found)


def role_blocks(every: Sequence[Against], found: Sequence[Rival], seed: int) -> Iterator[Block]:
    """Tables by role: each recipe against the base, and the winner against each."""
    rows = tuple((one.name, *cells(group)) for one in every for group in one.groups)
    title = "Each recipe against the base, by role"
    note = HOW + UNCORRECTED + _of_means(found)
    yield TableBlock(Table("roles", title, (RECIPE, QUESTIONS, *GROUPS), rows, note))
    if len(found) > 1:
        yield TableBlock(_winner_table(found, seed), is_long=True)


def _of_means(found: Sequence[Rival]) -> str:
    return OF_MEANS if any(one.is_mean for one in found) else ""


def _winner_table(found: Sequence[Rival], seed: int) -> Table:
    winner, *others = found
    rows = tuple(
        (other.name, *cells(group))
        for other in others
        for group in against(
            other.rows, replace(winner, is_mean=other.is_mean), by_role, seed
        ).groups
    )
    title = "Winner against each recipe, by role"
    note = HOW + _of_means(found)
    return Table("roles-winner", title, (RECIPE, QUESTIONS, *AGAINST_WINNER), rows, note)


def category_blocks(answers: Answers, found: Sequence[Rival], seed: int) -> Iterator[Block]:
    """Of every field of the samples' categories: winner and recipes drawn, all in a table."""
    shown = [one for one in found if one.is_shown]
    for field in category_fields(answers):
        name = f"category-{slug(field)}"
        every = [against(answers.base, one, by_category(field), seed) for one in shown]
        yield _differences(name, f"Winner - base by {field}", every[0].groups)
        if len(every) > 1:
            yield _matrix(f"recipes-{name}", f"Every recipe by {field}", every)
        yield TableBlock(_category_table(name, field, every), is_long=True)


def _category_table(name: str, field: str, every: Sequence[Against]) -> Table:
    names = dict.fromkeys(group.name for one in every for group in one.groups)
    by_name = [{group.name: group for group in one.groups} for one in every]
    rows = tuple(
        (group, one.name, *cells(own[group])[1:])
        for group in names
        for one, own in zip(every, by_name, strict=True)
        if group in own
    )
    title = f"Each recipe against the base, by {field}"
    note = HOW + (OF_MEANS if any(g.mcnemar is None for o in every for g in o.groups) else "")
    return Table(name, title, (QUESTIONS, RECIPE, *GROUPS), rows, note)


def cells(group: Compared) -> tuple[Cell, ...]:
    """Of `QUESTIONS` and `GROUPS`."""
    d, exact = group.difference, group.mcnemar
    tested = (None, None, None) if exact is None else (exact.gained, exact.lost, exact.p)
    ends = Estimate(d.estimate, d.low, d.high)
    return (group.name, d.n, group.base, group.merged, ends, d.p, *tested, verdict_of(d))


def verdict_of(d: Difference) -> str:
    """By interval and p."""
    return verdict(d.low, d.high, d.p)


def drawn_by_role(every: Sequence[Against]) -> Picture[Differences]:
    """Each recipe against the base, TR and TP on one line."""
    rows = [(one.name, group) for one in every if one.is_shown for group in one.groups]
    return Picture(
        name="recipes-differences",
        title="What each recipe changes against the base",
        caption=(
            "Paired differences of accuracy on the same questions, with 95 % intervals over whole "
            f"videos, not corrected for their number. {EMPTY}"
        ),
        alt="TR and TP difference of each recipe from the base, with intervals.",
        data=_as_differences([(name, g.name, g) for name, g in rows], "recipe - base, accuracy"),
        draw=draw_differences,
    )


def _differences(name: str, title: str, groups: Sequence[Compared]) -> Picture[Differences]:
    rows = [(f"{g.name} ({g.difference.n})", g.name.partition(":")[0], g) for g in groups]
    return Picture(
        name=name,
        title=title,
        caption=(
            "Paired differences of accuracy with 95 % intervals over whole videos, not corrected for "
            f"their number; in brackets how many questions. {EMPTY}"
        ),
        alt="Difference of accuracy between winner and base for each category, with intervals.",
        data=_as_differences(rows, "winner - base, accuracy"),
        draw=draw_differences,
    )


def _as_differences(rows: Sequence[tuple[str, str, Compared]], unit: str) -> Differences:
    """Of name, colour's group and comparison."""
    every = [group.difference for _, _, group in rows]
    return Differences(
        names=tuple(name for name, _, _ in rows),
        estimates=tuple(d.estimate for d in every),
        lows=tuple(d.low for d in every),
        highs=tuple(d.high for d in every),
        verdicts=tuple(verdict_of(d) for d in every),
        unit=unit,
        groups=tuple(kind for _, kind, _ in rows),
    )


def _matrix(name: str, title: str, every: Sequence[Against]) -> Picture[Matrix]:
    names = list(dict.fromkeys(group.name for one in every for group in one.groups))
    known = [{group.name: group.difference for group in one.groups} for one in every]
    return Picture(
        name=name,
        title=title,
        caption=(
            "Recipe minus base in accuracy. Bold with a frame: significant, not corrected for the "
            "number of cells; pale digits: not significant. Intervals are in the table below."
        ),
        alt="Difference of accuracy from the base for each category and recipe.",
        data=Matrix(
            rows=tuple(names),
            columns=tuple(one.name for one in every),
            values=tuple(
                tuple(own[n].estimate if n in own else None for own in known) for n in names
            ),
            marked=tuple(
                tuple(n in own and verdict_of(own[n]) == SIGNIFICANT for own in known)
                for n in names
            ),
        ),
        draw=draw_matrix,
    )
