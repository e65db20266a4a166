"""EgoSchema (arXiv 2308.09126): the 500 questions on three-minute videos whose answers are public."""

from collections.abc import Iterator, Mapping

from merit_opt.data.benchmarks.benchmark import (
    DIRECTLY,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    choosing,
    odd,
)
from merit_opt.data.benchmarks.inline import inline_options
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import Sample
from merit_opt.data.tables import Row, read_json, read_rows


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """One sample a question with a public answer, of the hub's table or of the authors' files."""
    for path in copy.find("Subset/test-*.parquet", "questions.json", "**/questions.json"):
        if path.suffix == ".parquet":
            for row in read_rows(path):
                options = inline_options("\n".join(row["option"]))[1]
                yield _sample(copy, row["video_idx"], row["question"], options, int(row["answer"]))
        else:
            answers = _answers(copy)
            for row in read_rows(path):
                if (name := row["q_uid"]) in answers:
                    yield _sample(copy, name, row["question"], _options(row), answers[name])


def _answers(copy: DatasetCopy) -> Mapping[str, int]:
    return read_json(copy.find("subset_answers.json", "**/subset_answers.json")[0])


def _options(row: Row) -> tuple[str, ...]:
    return tuple(str(row[f"option {i}"]).strip() for i in range(5))


def _sample(
    copy: DatasetCopy, name: str, question: str, options: tuple[str, ...], answer: int
) -> Sample | LeftOut:
    if not 0 <= answer < len(options):
        return LeftOut(name, NO_GOLD)
    return Sample(
        id=name,
        media=(copy.video(f"videos/{name}"),),
        question=question.strip(),
        options=options,
        answer=answer,
        categories=(("subset", "EgoSchema"),),
        group_id=name,
        flags=odd(options),
    )


EGOSCHEMA = Benchmark(
    name="egoschema",
    repo="lmms-lab/egoschema",
    revision=None,
    files={"subset": ("Subset/test-*.parquet", "videos_chunked_*.zip")},
    read=read,
    published={"subset": 500},
    role_field="subset",
    aggregates={"subset": MICRO},
    licence="Ego4D's licence",
    prompts={
        "lmms": choosing(
            "egoschema/lmms/1",
            f"\n{DIRECTLY}",
        )
    },
)
