"""A benchmark's rows as a suite: the factory behind most options of `conf/suite/`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

from merit_opt.data.asking import asking
from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.benchmark import Benchmark, LeftOut
from merit_opt.data.benchmarks.fetch import fetched
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.media.frames import Mode
from merit_opt.data.progress import Progress
from merit_opt.data.prompts import COMMON
from merit_opt.data.sample import Number, Sample
from merit_opt.data.select import Select, selected
from merit_opt.data.suite import Role, Roles, ScorerName, Suite
from merit_opt.errors import UserError


def benchmark_suite(
    *,
    benchmark: str,
    variant: str,
    root: Path | None,
    download: bool,
    revision: str | None,
    prompt: str,
    scorer: ScorerName,
    permutations: int,
    decoding: Literal["greedy", "own"],
    max_new_tokens: int,
    sampling: Mode,
    frames: int,
    fps: float,
    roles: Mapping[str, tuple[str, ...]],
    max_unusable: float,
    select: Select,
    n: int,
    select_seed: int,
    margins: Path | None,
    cache: Path,
    progress: Progress | None,
) -> Suite:
    """The samples of a user's copy of a benchmark.

    Args:
        benchmark: Its name in `BENCHMARKS`.
        variant: One of the benchmark's.
        root: Where the copy lies, in the layout that the dataset ships; None only to download.
        download: Whether to fetch what is not there from the hub.
        revision: Commit to fetch; None for the one that the benchmark pins.
        prompt: See `asking`; `letter`, or one of the benchmark's own.
        scorer: See `asking`.
        permutations: See `asking`.
        decoding: See `asking`.
        max_new_tokens: See `asking`.
        sampling: See `asking`.
        frames: See `asking`.
        fps: See `asking`.
        roles: Role -> the values of the benchmark's own field that have it.
        max_unusable: See `Suite`.
        select: See `selected`.
        n: See `selected`.
        select_seed: See `selected`.
        margins: See `selected`.
        cache: Where files are unpacked to; safe to delete.
        progress: Called with (stage, done, total).

    Raises:
        UserError: The copy, a name or a value does not fit.
    """
    known = _known(benchmark)
    if variant not in known.variants:
        raise UserError(f"suite.variant={variant!r}: {benchmark} has {', '.join(known.variants)}")
    folder = fetched(known, variant, root, download=download, revision=revision)
    rows = _rows(known, DatasetCopy(folder, cache), variant)
    samples, left_out = sorted_out(rows, scorer, folder)
    whole = Suite(
        name=benchmark if variant == known.variants[0] else f"{benchmark}-{variant}",
        revision=revision or known.revision or "unpinned",
        samples=samples,
        asking=asking(
            {**COMMON, **known.prompts_of(variant)},
            prompt=prompt,
            scorer=scorer,
            permutations=permutations,
            decoding=decoding,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            frames=frames,
            fps=fps,
        ),
        roles=Roles(known.role_field, by_value(roles)),
        aggregates=known.aggregates[variant],
        max_unusable=max_unusable,
        left_out=left_out,
        published=known.published.get(variant),
    )
    return selected(whole, select=select, n=n, seed=select_seed, margins=margins)


def _known(name: str) -> Benchmark:
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    near = get_close_matches(name, BENCHMARKS, n=1, cutoff=0.0)[0]
    raise UserError(f"suite.benchmark={name!r} is not known; did you mean {near!r}?")


def sorted_out(
    rows: Iterable[Sample | LeftOut], scorer: ScorerName, where: Path
) -> tuple[tuple[Sample, ...], dict[str, str]]:
    """What can be asked and scored, and why the rest cannot.

    Raises:
        UserError: Two samples have one id; the message names `where`.
    """
    samples: list[Sample] = []
    left_out: dict[str, str] = {}
    for row in rows:
        if isinstance(row, LeftOut):
            left_out[row.id] = row.reason
        elif isinstance(row.answer, Number) and scorer != "generate":
            left_out[row.id] = "its answer is a number, which only suite.scorer=generate reads"
        else:
            samples.append(row)
    twice = [i for i, n in Counter(s.id for s in samples).items() if n > 1]
    if twice:
        raise UserError(
            f"{where}: {len(twice)} ids stand twice, such as {twice[0]!r}; keep one copy of the "
            "annotations"
        )
    return tuple(samples), left_out


def _rows(benchmark: Benchmark, copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    try:
        yield from benchmark.read(copy, variant)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{copy.root}: an annotation of {benchmark.name} is not as its authors ship it "
            f"({type(error).__name__}: {error}); fetch the files anew"
            + (f", or give suite.variant={variant} its own" if len(benchmark.variants) > 1 else "")
        ) from error


def by_value(roles: Mapping[str, tuple[str, ...]]) -> dict[str, Role]:
    """Role -> values, turned around.

    Raises:
        UserError: A value has two roles, or a role is unknown.
    """
    found: dict[str, Role] = {}
    for role in get_args(Role):
        for value in roles.get(role, ()):
            if value in found:
                raise UserError(f"suite.roles: {value!r} is both {found[value]} and {role}")
            found[value] = role
    if strange := set(roles) - set(get_args(Role)):
        raise UserError(f"suite.roles are TR, TP and other; got {', '.join(sorted(strange))}")
    return found
