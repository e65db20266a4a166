"""A compact diagnostic set: few questions that stand for all of a suite.

The rule is ours. `selected` offers only TR and TP questions: no other counts in an objective. They
are dealt out to roles, and within a role to the values of the category that roles are of, in
proportion to how many there are (largest remainder); every role that is there keeps one at least.
Within such a stratum one question at a time is taken, of those whose medium was taken least often
the one that a hash of the seed and its id puts first.

With margins, a stratum's questions stand in the order of |margin| and are cut into as many bins as
are wanted of them; the i-th of k bins ends at the share (i / k)^2 of the questions, and each gives
one. So half of the chosen are of the quarter that the base was least sure of, right or wrong, where
answers can flip, and the rest reach up to what it was surest of. A question without a margin comes
after those that have one.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

from merit_opt.data.sample import Sample
from merit_opt.data.suite import Suite
from merit_opt.data.tables import Row, read_rows
from merit_opt.errors import UserError

Select = Literal["all", "compact"]
K = TypeVar("K", bound=Hashable)


def selected(suite: Suite, *, select: Select, n: int, seed: int, margins: Path | None) -> Suite:
    """The suite, or a compact set of its TR and TP questions.

    Args:
        suite: Whole.
        select: `all`, or `compact`.
        n: How many samples `compact` keeps, at least 1; all if there are fewer.
        seed: Of the choice among equals.
        margins: A table with the columns `sample` and `margin`, as an evaluation's `samples.parquet`;
            None for no margins.

    Raises:
        UserError: `n` does not fit, or the table does not.
    """
    if select == "all":
        return suite
    known = None if margins is None else read_margins(margins)
    if known is not None and not any(s.id in known for s in suite.samples):
        raise UserError(
            f"{margins} has the margin of no sample of suite {suite.name}; give suite.margins what "
            "an evaluation of this suite wrote"
        )
    counted = suite.only(s.id for s in suite.samples if suite.role(s) != "other")
    return replace(compact(counted, n, seed, known), published=None)


def read_margins(path: Path) -> dict[str, float]:
    """Id -> margin of a table's rows: the log-probability of the right option minus the best other.

    Samples that could not be scored have none.

    Raises:
        UserError: It cannot be read, lacks a column, or holds what is no number.
    """
    rows = enumerate(read_rows(path), 1)
    found = (_margin(path, number, row) for number, row in rows)
    return {name: margin for name, margin in found if margin is not None}


def _margin(path: Path, number: int, row: Row) -> tuple[str, float | None]:
    try:
        value = None if row["margin"] is None else float(row["margin"])
        if value is None or not math.isnan(value):
            return str(row["sample"]), value
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    raise UserError(
        f"{path}: row {number} needs a `sample` and a `margin`, a number; got {dict(row)}"
    )


def compact(suite: Suite, n: int, seed: int, margins: Mapping[str, float] | None) -> Suite:
    """The `n` samples that stand for all, in the suite's order; the module says by which rule.

    Args:
        suite: Whole; the order of its samples does not matter.
        n: At least 1.
        seed: Of the choice among equals.
        margins: Sample id -> margin of the base model; None to choose without.

    Raises:
        UserError: `n` is below 1.
    """
    if n < 1:
        raise UserError(f"a compact set keeps at least one sample; got suite.n={n}")
    strata: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in suite.samples:
        strata[suite.role(sample), sample.category(suite.roles.category) or ""].append(sample)
    wanted = _wanted({key: len(samples) for key, samples in strata.items()}, n)
    taken, ids = Counter[str](), set[str]()
    for key in sorted(strata, key=lambda key: (len(strata[key]), key)):
        for pool, count in _bins(strata[key], wanted[key], margins):
            ids.update(_take(pool, count, seed, taken))
    return suite.only(ids)


def _wanted(counts: Mapping[tuple[str, str], int], n: int) -> dict[tuple[str, str], int]:
    by_role = Counter[str]()
    for (role, _), count in counts.items():
        by_role[role] += count
    wanted: dict[tuple[str, str], int] = {}
    for role, share in with_one_each(by_role, dealt(by_role, n)).items():
        wanted |= dealt({key: c for key, c in counts.items() if key[0] == role}, share)
    return wanted


def dealt(counts: Mapping[K, int], n: int) -> dict[K, int]:
    """`n` in proportion to `counts` by largest remainder, no more than there are.

    What remains goes to the largest fractions, and among equal ones in order of the keys.
    """
    total = sum(counts.values())
    n = min(n, total)
    shares = {key: divmod(n * count, total) for key, count in counts.items()}
    left = n - sum(whole for whole, _ in shares.values())
    first = sorted(shares, key=lambda key: (-shares[key][1], str(key)))[:left]
    return {key: whole + (key in first) for key, (whole, _) in shares.items()}


def with_one_each(counts: Mapping[K, int], shares: Mapping[K, int]) -> dict[K, int]:
    """`shares` with one for each key that has none, taken from the largest, if there is enough."""
    mended = dict(shares)
    for key in sorted(counts, key=str):
        largest = max(mended, key=lambda k: (mended[k], str(k)))
        if mended[key] == 0 and mended[largest] > 1:
            mended[largest] -= 1
            mended[key] = 1
    return mended


def _bins(
    samples: Sequence[Sample], count: int, margins: Mapping[str, float] | None
) -> Iterator[tuple[Sequence[Sample], int]]:
    """Samples to choose from, and how many of them."""
    if margins is None:
        yield samples, count
        return
    ranked = sorted(samples, key=lambda s: (abs(margins.get(s.id, math.inf)), s.id))
    begin = 0
    for i in range(1, count + 1):
        end = max(begin + 1, len(ranked) * i * i // (count * count))
        end = min(end, len(ranked) - (count - i))
        yield ranked[begin:end], 1
        begin = end


def _take(pool: Sequence[Sample], count: int, seed: int, taken: Counter[str]) -> Iterator[str]:
    left = {sample.id: (sample.group_id, _hash(seed, sample.id)) for sample in pool}
    for _ in range(count):
        chosen = min(left, key=lambda i: (taken[left[i][0]], left[i][1]))
        taken[left.pop(chosen)[0]] += 1
        yield chosen


def _hash(seed: int, sample_id: str) -> str:
    return hashlib.sha256(f"{seed}/{sample_id}".encode()).hexdigest()
