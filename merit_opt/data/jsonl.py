"""The suite `jsonl`: a user's own questions, a line each."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from merit_opt.data.asking import asking
from merit_opt.data.benchmarks.suite import by_value, sorted_out
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.media.frames import Mode
from merit_opt.data.progress import Progress
from merit_opt.data.prompts import COMMON
from merit_opt.data.question_line import BadLine, read_question
from merit_opt.data.sample import Sample
from merit_opt.data.select import Select, selected
from merit_opt.data.suite import Roles, ScorerName, Suite
from merit_opt.errors import UserError

MOST_TOLD = 20


def jsonl_suite(
    *,
    path: Path | None,
    root: Path | None,
    prompt: str,
    scorer: ScorerName,
    permutations: int,
    decoding: Literal["greedy", "own"],
    max_new_tokens: int,
    sampling: Mode,
    frames: int,
    fps: float,
    role_field: str,
    roles: Mapping[str, tuple[str, ...]],
    max_unusable: float,
    select: Select,
    n: int,
    select_seed: int,
    margins: Path | None,
    cache: Path,
    progress: Progress | None,
) -> Suite:
    """The questions of a file.

    Args:
        path: The file, in the form that docs/jsonl.md says.
        root: Where its media are, and nothing outside is read; None for the file's folder.
        prompt: See `asking`.
        scorer: See `asking`.
        permutations: See `asking`.
        decoding: See `asking`.
        max_new_tokens: See `asking`.
        sampling: See `asking`.
        frames: See `asking`.
        fps: See `asking`.
        role_field: The category that roles are of; `role` is what a line says itself.
        roles: Role -> the values of that category that have it.
        max_unusable: See `Suite`.
        select: See `selected`.
        n: See `selected`.
        select_seed: See `selected`.
        margins: See `selected`.
        cache: Unused: no media are packed in the file.
        progress: Called with (stage, done, total).

    Raises:
        UserError: The file or a value does not fit; all that is wrong with the file is told at once.
    """
    if path is None:
        raise UserError("suite=jsonl needs suite.path=FILE, a file of questions, one a line")
    content = _content(path)
    rows = _questions(path, content, DatasetCopy(root or path.parent, cache), progress)
    samples, left_out = sorted_out(rows, scorer, path)
    whole = Suite(
        name=re.sub(r"[^\w.-]", "_", path.stem),
        revision=hashlib.sha256(content).hexdigest()[:12],
        samples=samples,
        asking=asking(
            COMMON,
            prompt=prompt,
            scorer=scorer,
            permutations=permutations,
            decoding=decoding,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            frames=frames,
            fps=fps,
        ),
        roles=Roles(role_field, by_value(roles)),
        aggregates=(),
        max_unusable=max_unusable,
        left_out=left_out,
    )
    return selected(whole, select=select, n=n, seed=select_seed, margins=margins)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"suite.path={path} cannot be read: {error}") from error


def _questions(
    path: Path, content: bytes, copy: DatasetCopy, progress: Progress | None
) -> tuple[Sample, ...]:
    lines = [(i, line) for i, line in enumerate(_lines(path, content), 1) if line.strip()]
    found: list[tuple[int, Sample]] = []
    problems: list[tuple[int, str]] = []
    for done, (number, line) in enumerate(lines, 1):
        try:
            found.append((number, read_question(line, copy)))
        except BadLine as bad:
            problems += [(number, problem) for problem in bad.problems]
        if progress is not None:
            progress("questions", done, len(lines))
    problems += [*_twins(found), *_torn_groups(found)]
    if problems:
        raise UserError(_told(path, sorted(problems)))
    if not found:
        raise UserError(f"{path} holds no question; docs/jsonl.md says what a line is")
    return tuple(sample for _, sample in found)


def _lines(path: Path, content: bytes) -> list[str]:
    try:
        return content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}: line {number} is not UTF-8 ({error.reason}); save the file as UTF-8"
        ) from error


def _twins(found: list[tuple[int, Sample]]) -> Iterator[tuple[int, str]]:
    first: dict[str, int] = {}
    for number, sample in found:
        if sample.id in first:
            yield number, f"id {sample.id!r} is that of line {first[sample.id]} too"
        first.setdefault(sample.id, number)


def _torn_groups(found: list[tuple[int, Sample]]) -> Iterator[tuple[int, str]]:
    """A medium in two groups could be searched on and confirmed on."""
    first: dict[tuple[Path, str | None], tuple[int, str]] = {}
    for number, sample in found:
        for medium in sample.media:
            before, group = first.setdefault(
                (medium.path, medium.member), (number, sample.group_id)
            )
            if group != sample.group_id:
                yield (
                    number,
                    (
                        f"{medium.member or medium.path.name} is in group {sample.group_id!r}, but "
                        f"in {group!r} in line {before}; give both lines one `group`"
                    ),
                )


def _told(path: Path, problems: list[tuple[int, str]]) -> str:
    shown = [f"  line {number}: {problem}" for number, problem in problems[:MOST_TOLD]]
    if len(problems) > MOST_TOLD:
        shown.append(f"  and {len(problems) - MOST_TOLD} more")
    many = "one thing" if len(problems) == 1 else f"{len(problems)} things"
    return "\n".join([f"{path}: {many} to mend; docs/jsonl.md says what a line is", *shown])
