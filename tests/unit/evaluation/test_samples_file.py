import math
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from merit_opt.data.media.status import MediaStatus
from merit_opt.data.sample import YES_NO, Media, Number, Sample
from merit_opt.errors import UserError
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.samples_file import SCHEMA, sample_rows, write_samples
from tests.suites import made_up


def sample(number, options, answer):
    return Sample(
        f"s{number}",
        (Media(Path("clip.mp4"), "0"),),
        "?",
        options,
        answer,
        (("kind", "after"), ("duration", "short")),
        f"g{number}",
        is_yes_no=options == YES_NO,
    )


SUITE = made_up(
    [
        sample(0, ("a", "b", "c", "d"), 1),
        sample(1, YES_NO, 0),
        sample(2, (), Number(3.5, 0.1)),
        sample(3, ("a", "b"), 0),
        sample(4, ("a", "b"), 0),
    ],
    {"after": "TR"},
)
SCORES = (
    Score(0.0, "C", math.log(0.25), margin=-0.5, probabilities=(0.1, 0.25, 0.45, 0.2)),
    Score(1.0, "yes", text="Yes, it is."),
    Score(1.0, "3.5", text="3.5"),
    Score(None, why="none", text=""),
    Score(None, why="the file is gone"),
)
FOUND = Evaluation(SUITE.digest, "recipe", tuple(s.id for s in SUITE.samples), SCORES)


STATUSES = {"s0": MediaStatus("truncated", "PyAV (10 bits)", "it ends at 3 s")}


def test_a_row_says_all_that_is_known_of_a_sample():
    rows = sample_rows(FOUND, SUITE, STATUSES)
    assert rows[0] == {
        "sample": "s0",
        "role": "TR",
        "group": "g0",
        "categories": [("kind", "after"), ("duration", "short")],
        "n_options": 4,
        "chance": 0.25,
        "right": "B",
        "answer": "C",
        "value": 0.0,
        "log_probability": math.log(0.25),
        "margin": -0.5,
        "probabilities": [0.1, 0.25, 0.45, 0.2],
        "status": "ok",
        "why": None,
        "text": None,
        "media": "truncated",
        "media_detail": "it ends at 3 s",
        "reader": "PyAV (10 bits)",
        "recipe": "recipe",
        "suite": SUITE.digest,
    }
    assert [(r["right"], r["answer"], r["text"]) for r in rows[1:]] == [
        ("yes", "yes", "Yes, it is."),
        ("3.5", "3.5", "3.5"),
        ("A", None, ""),
        ("A", None, None),
    ]
    assert [(r["value"], r["status"], r["why"]) for r in rows[3:]] == [
        (None, "none", "none"),
        (None, "left out", "the file is gone"),
    ]
    assert all(r.keys() == set(SCHEMA.names) for r in rows)


def test_what_was_written_is_what_one_reads(tmp_path):
    path = tmp_path / "new" / "samples.parquet"
    write_samples(path, sample_rows(FOUND, SUITE, STATUSES))
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    assert table.to_pylist() == sample_rows(FOUND, SUITE, STATUSES)
    assert [p.name for p in path.parent.iterdir()] == ["samples.parquet"]


def test_rows_follow_the_suite_whatever_the_order_of_the_evaluation():
    backwards = replace(FOUND, ids=FOUND.ids[::-1], scores=SCORES[::-1])
    assert sample_rows(backwards, SUITE, STATUSES) == sample_rows(FOUND, SUITE, STATUSES)


def test_no_rows_are_a_table_too(tmp_path):
    write_samples(tmp_path / "none.parquet", [])
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_a_folder_that_cannot_be_written_is_named_and_left_as_it_was(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"cannot write .*/file/samples\.parquet"):
        write_samples(tmp_path / "file" / "samples.parquet", sample_rows(FOUND, SUITE, STATUSES))
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
