"""TempCompass (arXiv 2403.00476): one temporal aspect at a time, asked about in three ways."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from merit_opt.data.benchmarks.benchmark import (
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    answer_index,
    odd,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt
from merit_opt.data.sample import YES_NO, Cue, Sample
from merit_opt.data.tables import Row, read_json, read_rows

VARIANTS = ("multi-choice", "yes_no", "caption_matching")
_OPTION = re.compile(r"\s*((?:Option|Sentence|Caption) )?[A-Z1-9][.:]\s*(.*)")


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a question; options stand in its text, a line each, and the answer is such a line."""
    found = copy.find(f"{variant}/test-*.parquet", f"questions/{variant}.json", f"{variant}.json")
    rows = [row for path in found for row in _rows(path)]
    groups = group_of(row["video_id"] for row in rows)
    counts = Counter[tuple[str, str]]()
    for row in rows:
        video, dim = row["video_id"], row["dim"]
        yield _sample(copy, row, f"{video}/{dim}/{counts[video, dim]}", groups[video])
        counts[video, dim] += 1


def _rows(path: Path) -> Iterable[Row]:
    nested = read_json(path) if path.suffix == ".json" else None
    if not isinstance(nested, dict):
        return read_rows(path)
    return [
        {"video_id": video, "dim": dim, **question}
        for video, by_dim in nested.items()
        for dim, questions in by_dim.items()
        for question in questions
    ]


def _sample(copy: DatasetCopy, row: Row, sample_id: str, group_id: str) -> Sample | LeftOut:
    question, *lines = row["question"].split("\n")
    matches = [match for line in lines if (match := _OPTION.fullmatch(line))]
    options = tuple(match[2] for match in matches) or YES_NO
    answer = answer_index(row["answer"], tuple(lines) or YES_NO)
    if answer is None or len(matches) < len(lines):
        return LeftOut(sample_id, NO_GOLD)
    named = matches[0][1].strip() if matches and matches[0][1] else None
    return Sample(
        id=sample_id,
        media=(copy.video(f"videos/{row['video_id']}"),),
        question=question,
        options=options,
        answer=answer,
        categories=(("dim", row["dim"]), *([("named", named)] if named else ())),
        group_id=group_id,
        flags=odd(options),
        is_yes_no=not matches,
    )


def group_of(videos: Iterable[str]) -> dict[str, str]:
    """Video -> the least of all clips that it, or one cut together with them, is made of.

    ``11_reverse``, ``11_concat_0`` and ``11_22_0`` are made of clips 11 and 22: all are one group.
    """
    below: dict[str, str] = {}

    def least(clip: str) -> str:
        while below.setdefault(clip, clip) != clip:
            clip = below[clip]
        return clip

    made_of = {v: [c for c in v.split("_") if c.isdigit() and len(c) > 1] or [v] for v in videos}
    for clips in made_of.values():
        roots = sorted(least(clip) for clip in clips)
        below.update(dict.fromkeys(roots, roots[0]))
    return {video: least(clips[0]) for video, clips in made_of.items()}


def _asked(sample: Sample, _: tuple[Cue, ...]) -> str:
    if sample.is_yes_no:
        return f"{sample.question}\nPlease answer yes or no:"
    named = sample.category("named")
    form = f"{named} {{}}: {{}}" if named else "{}. {}"
    options = (form.format(*pair) for pair in zip(_labels(sample), sample.options, strict=True))
    return "\n".join([sample.question, *options, "Please directly give the best option:"])


def _labels(sample: Sample) -> tuple[str, ...]:
    """Numbers where they are called options, letters where sentences or captions."""
    if sample.category("named") != "Option":
        return sample.labels
    return tuple(str(number) for number in range(1, len(sample.options) + 1))


_PROMPT = Prompt("tempcompass/official/1", _asked, labels=_labels)

TEMPCOMPASS = Benchmark(
    name="tempcompass",
    repo="lmms-eval/TempCompass",
    revision="c8a67d88a3bc6fd4b2f9ae2f9e112668fbe05722",
    files={v: (f"{v}/*.parquet", "tempcompass_videos.zip") for v in VARIANTS},
    read=read,
    published={"multi-choice": 1580, "yes_no": 2453, "caption_matching": 1503},
    role_field="dim",
    aggregates=dict.fromkeys(VARIANTS, MICRO),
    licence="CC BY-NC 4.0",
    prompts={"lmms": _PROMPT, "vlmevalkit": _PROMPT, "official": _PROMPT},
)
