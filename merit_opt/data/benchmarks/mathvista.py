"""MathVista (arXiv 2310.02255): the 1,000 public questions, on pictures of 31 datasets."""

from collections.abc import Iterator

from merit_opt.data.benchmarks.benchmark import (
    DIRECTLY,
    JUDGED,
    MICRO,
    NO_GOLD,
    Benchmark,
    LeftOut,
    answer_index,
    odd,
)
from merit_opt.data.benchmarks.pictures import (
    beside,
    picture,
    plain_number,
)
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import Prompt, lettered
from merit_opt.data.sample import Cue, Number, Sample
from merit_opt.data.tables import Row, read_json, read_rows

FIELDS = ("category", "task", "context", "grade", "language", "source")
PLACES = {
    "1": ("one decimal place", "1.2, 1.3, 1.4"),
    "2": ("two decimal places", "1.23, 1.34, 1.45"),
}


def read(copy: DatasetCopy, variant: str) -> Iterator[Sample | LeftOut]:
    """The hub's table, or the file of the authors' repository, by problem."""
    for row in _rows(copy, variant):
        options = tuple(row["choices"] or ())
        answer = answer_index(row["answer"], options) if options else _number(row)
        if answer is None:
            yield LeftOut(row["pid"], NO_GOLD if options else JUDGED)
            continue
        unit = f" (Unit: {row['unit']})" if row["unit"] else ""
        yield Sample(
            id=row["pid"],
            media=(picture(copy, row, "decoded_image", *beside(row["image"], "data")),),
            question=f"{row['question'].strip()}{unit}",
            options=tuple(option.strip() for option in options),
            answer=answer,
            categories=_categories(row),
            group_id=row["image"],
            flags=odd(options),
        )


def _rows(copy: DatasetCopy, variant: str) -> Iterator[Row]:
    names = (f"data/{variant}-*.parquet", f"data/{variant}.json", f"{variant}.json")
    for path in copy.find(*names):
        yield from read_json(path).values() if path.suffix == ".json" else read_rows(path)


def _number(row: Row) -> Number | None:
    """Right is what rounds to it at its `precision`, as the authors' score is."""
    if row["answer_type"] not in ("integer", "float"):
        return None
    places = int(row["precision"] or 0)
    return plain_number(row["answer"], 0.5 * 10.0**-places if places else 0.0)


def _categories(row: Row) -> tuple[tuple[str, str], ...]:
    told = [(field, row["metadata"][field]) for field in FIELDS]
    skills = ", ".join(row["metadata"]["skills"])
    places = str(int(row["precision"])) if row["precision"] else ""
    kinds = [(field, row[field]) for field in ("question_type", "answer_type")]
    return (*told, ("skills", skills), *kinds, ("precision", places))


def _lmms(sample: Sample, cues: tuple[Cue, ...]) -> str:
    del cues
    if sample.options:
        return f"{sample.question}\n{lettered(sample)}\n{DIRECTLY}"
    return f"{sample.question}\nAnswer the question using a single {_kind(sample)}."


def _kind(sample: Sample) -> str:
    if sample.category("answer_type") == "integer":
        return "integer number"
    return f"floating-point number with {PLACES[sample.category('precision') or ''][0]}"


def _official(sample: Sample, cues: tuple[Cue, ...]) -> str:
    del cues
    choices = f"\nChoices:\n{lettered(sample, '({letter}) {option}')}" if sample.options else ""
    return f"Question: {sample.question}{choices}\nHint: {_hint(sample)}\nSolution:"


def _hint(sample: Sample) -> str:
    if sample.options:
        return (
            "Please answer the question and provide the correct option letter, "
            "e.g., A, B, C, D, at the end."
        )
    if sample.category("answer_type") == "integer":
        kind, examples = "an integer answer", "1, 2, 3"
    else:
        places, examples = PLACES[sample.category("precision") or ""]
        kind = f"a floating-point number with {places}"
    return (
        f"Please answer the question requiring {kind} and provide the final value, "
        f"e.g., {examples}, at the end."
    )


MATHVISTA = Benchmark(
    name="mathvista",
    repo="AI4Math/MathVista",
    revision="2b6ad69445fbb5695c9b165475e8decdbeb97747",
    files={"testmini": ("data/testmini-*.parquet",)},
    read=read,
    published={"testmini": 1000},
    role_field="category",
    aggregates={"testmini": MICRO},
    prompts={
        "lmms": Prompt("mathvista/lmms/1", _lmms),
        "official": Prompt("mathvista/official/1", _official),
    },
    licence="CC BY-SA 4.0",
)
