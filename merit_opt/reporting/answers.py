"""Samples that two models answered, compared by role, suite and category."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from merit_opt.evaluation.comparison import McNemar, mcnemar
from merit_opt.evaluation.stats import Difference, paired_difference
from merit_opt.reporting.facts import Answers, Row

Key = Callable[[Row], str | None]


@dataclass(frozen=True, slots=True)
class Compared:
    """A group of samples, base against merged, in accuracy over those scored on both sides.

    Attributes:
        name: The group's.
        base: The VLM's mean.
        merged: The merged model's mean.
        difference: Merged minus base, paired, clustered by video.
        mcnemar: Samples that one side alone has right; None of a mean over several recipes.
    """

    name: str
    base: float
    merged: float
    difference: Difference
    mcnemar: McNemar | None


def by_role(row: Row) -> str | None:
    """TR, TP or other."""
    return row["role"]


def category_fields(answers: Answers) -> tuple[str, ...]:
    """Fields that divide the samples into a few kinds: two or more, and at most forty."""
    kinds: dict[str, set[str]] = {}
    for row in answers.base:
        for name, value in row["categories"].items():
            kinds.setdefault(name, set()).add(value)
    return tuple(name for name, values in kinds.items() if 2 <= len(values) <= 40)


def by_category(name: str) -> Key:
    """The role and the value of a field of the sample's categories."""

    def key(row: Row) -> str | None:
        value = row["categories"].get(name)
        return None if value is None else f"{row['role']}: {value}"

    return key


def compared(answers: Answers, key: Key, seed: int) -> tuple[Compared, ...]:
    """Every group of samples, by name; those without one scored on both sides are left out."""
    groups: dict[str, list[tuple[Row, Row]]] = {}
    for pair in _scored(answers):
        if (name := key(pair[0])) is not None:
            groups.setdefault(name, []).append(pair)
    return tuple(_compared(name, groups[name], seed) for name in sorted(groups, key=_order))


def mean_rows(several: Sequence[Sequence[Row]]) -> list[Row]:
    """Samples with their mean value; None where one of the models has none."""
    first, *others = ({row["sample"]: row for row in rows} for rows in several)
    found: list[Row] = []
    for sample, row in first.items():
        values = [row["value"], *(own[sample]["value"] for own in others if sample in own)]
        is_whole = len(values) == len(several) and None not in values
        found.append({**row, "value": fmean(values) if is_whole else None})
    return found


def _order(name: str) -> tuple[int, str]:
    """TR first, then TP, then what is neither."""
    role = name.partition(":")[0]
    return ("TR", "TP").index(role) if role in ("TR", "TP") else 2, name


def _scored(answers: Answers) -> Iterator[tuple[Row, Row]]:
    merged = {row["sample"]: row for row in answers.merged}
    for row in answers.base:
        other = merged.get(row["sample"])
        if other is not None and row["value"] is not None and other["value"] is not None:
            yield row, other


def _compared(name: str, pairs: Iterable[tuple[Row, Row]], seed: int) -> Compared:
    rows = list(pairs)
    first, second = ({p[side]["sample"]: float(p[side]["value"]) for p in rows} for side in (0, 1))
    groups = {base["sample"]: base.get("group") or base["sample"] for base, _ in rows}
    return Compared(
        name=name,
        base=sum(first.values()) / len(first),
        merged=sum(second.values()) / len(second),
        difference=paired_difference(first, second, groups, seed),
        mcnemar=mcnemar(first, second),
    )


def flipped(answers: Answers) -> list[tuple[Row, Row]]:
    """Samples whose answer changed, those first that became right, and by how far.

    How far is the change of the right option's probability, where the model has one.
    """
    changed = [pair for pair in _scored(answers) if pair[0]["answer"] != pair[1]["answer"]]
    return sorted(changed, key=lambda pair: (-_gain(pair), -_shift(pair), pair[0]["sample"]))


def gained_lost(answers: Answers) -> tuple[int, int, int]:
    """How many became right, became wrong, or went from one wrong answer to another."""
    counts = Counter(_gain(pair) for pair in flipped(answers))
    return counts[1.0], counts[-1.0], counts[0.0]


def _gain(pair: tuple[Row, Row]) -> float:
    return pair[1]["value"] - pair[0]["value"]


def _shift(pair: tuple[Row, Row]) -> float:
    base, merged = (row.get("log_probability") for row in pair)
    return 0.0 if base is None or merged is None else abs(merged - base)


def exclusions(answers: Answers) -> dict[str, int]:
    """Why samples could not be scored -> how many, of the winner's; and what of media was lost."""
    counts = Counter[str]()
    for row in answers.merged:
        if row["value"] is None:
            counts[f"not scored: {row.get('status') or 'left out'}"] += 1
        if row.get("media") not in (None, "ok"):
            counts[f"media {row['media']}"] += 1
    return dict(sorted(counts.items()))
