"""An evaluation sample by sample, as one Parquet table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from merit_opt.data.media.status import MediaStatus
from merit_opt.data.sample import Number, Sample
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.files import replacing

NAME = "samples.parquet"
SCHEMA = pa.schema(
    [
        ("sample", pa.string()),
        ("role", pa.string()),
        ("group", pa.string()),
        ("categories", pa.map_(pa.string(), pa.string())),
        ("n_options", pa.int32()),
        ("chance", pa.float64()),
        ("right", pa.string()),
        ("answer", pa.string()),
        ("value", pa.float64()),
        ("log_probability", pa.float64()),
        ("margin", pa.float64()),
        ("probabilities", pa.list_(pa.float64())),
        ("status", pa.string()),
        ("why", pa.string()),
        ("text", pa.string()),
        ("media", pa.string()),
        ("media_detail", pa.string()),
        ("reader", pa.string()),
        ("recipe", pa.string()),
        ("suite", pa.string()),
    ]
)


def sample_rows(
    evaluation: Evaluation, suite: Suite, statuses: Mapping[str, MediaStatus]
) -> list[dict[str, Any]]:
    """A row a sample in the suite's order, by the names of `SCHEMA`; what is unknown is None.

    Args:
        evaluation: Of the suite.
        suite: What was asked.
        statuses: Sample id -> how reading its media went.
    """
    scores = evaluation.by_id
    digests = {"recipe": evaluation.recipe, "suite": evaluation.suite}
    return [
        {
            **_asked(sample, suite),
            **_answered(scores[sample.id]),
            **_read(statuses.get(sample.id)),
            **digests,
        }
        for sample in suite.samples
    ]


def _asked(sample: Sample, suite: Suite) -> dict[str, Any]:
    right = sample.answer
    return {
        "sample": sample.id,
        "role": suite.role(sample),
        "group": sample.group_id,
        "categories": list(sample.categories),
        "n_options": len(sample.options),
        "chance": sample.chance,
        "right": f"{right.value:.15g}" if isinstance(right, Number) else sample.labels[right],
    }


def _answered(score: Score) -> dict[str, Any]:
    return {
        "answer": score.answer or None,
        "value": score.value,
        "log_probability": score.log_probability,
        "margin": score.margin,
        "probabilities": list(score.probabilities) or None,
        "status": score.status,
        "why": score.why or None,
        "text": score.text if score.text or score.status in ("ambiguous", "none") else None,
    }


def _read(status: MediaStatus | None) -> dict[str, Any]:
    if status is None:
        return dict.fromkeys(("media", "media_detail", "reader"))
    return {
        "media": status.kind,
        "media_detail": status.detail or None,
        "reader": status.reader or None,
    }


def write_samples(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write under a temporary name beside `path`, then rename; folders are made as needed.

    Raises:
        UserError: The folder cannot be written; the message names the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), temporary)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free some space, or choose another folder"
        ) from error


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The rows that `write_samples` wrote; categories as a dictionary.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is another table.
    """
    table = pq.read_table(path)
    if missing := {"sample", "role", "value"} - set(table.column_names):
        raise ValueError(f"no column {', '.join(sorted(missing))}")
    return [{**row, "categories": dict(row["categories"])} for row in table.to_pylist()]
