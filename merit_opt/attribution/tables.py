"""Tidy tables on disk, and what each column is."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from merit_opt.attribution.method import Rows
from merit_opt.errors import UserError
from merit_opt.files import replacing

LAYERS = pa.schema(
    [
        ("method", pa.string()),
        ("variant", pa.string()),
        ("model", pa.string()),
        ("layer", pa.int32()),
        ("part", pa.string()),
        ("head_group", pa.int32()),
        ("coefficient", pa.float64()),
        ("role", pa.string()),
        ("n", pa.int32()),
        ("reference", pa.float64()),
        ("score", pa.float64()),
        ("difference", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("p", pa.float64()),
        ("unit", pa.string()),
    ]
)
SETS = pa.schema(
    [
        ("variant", pa.string()),
        ("model", pa.string()),
        ("part", pa.string()),
        ("set", pa.string()),
        ("draw", pa.int32()),
        ("layers", pa.list_(pa.int32())),
        ("role", pa.string()),
        ("n", pa.int32()),
        ("reference", pa.float64()),
        ("score", pa.float64()),
        ("difference", pa.float64()),
        ("unit", pa.string()),
    ]
)
FRAMES = pa.schema(
    [
        ("sample", pa.string()),
        ("model", pa.string()),
        ("method", pa.string()),
        ("target", pa.string()),
        ("frame", pa.int32()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("evidence", pa.bool_()),
        ("attribution", pa.float64()),
    ]
)
FRAME_SAMPLES = pa.schema(
    [
        ("sample", pa.string()),
        ("model", pa.string()),
        ("role", pa.string()),
        ("group", pa.string()),
        ("answer", pa.string()),
        ("right", pa.string()),
        ("correct", pa.bool_()),
        ("log_probabilities", pa.list_(pa.float64())),
        ("gap", pa.float64()),
        ("residual", pa.float64()),
    ]
)
SCHEMAS: Mapping[str, pa.Schema] = MappingProxyType(
    {
        "scan": LAYERS,
        "mask": LAYERS,
        "mask_sets": SETS,
        "gradient": LAYERS,
        "leave_out": LAYERS,
        "frames": FRAMES,
        "frame_samples": FRAME_SAMPLES,
    }
)


def write_table(folder: Path, name: str, rows: Rows) -> Path:
    """Write `NAME.parquet` under a temporary name, then rename; folders are made as needed.

    Raises:
        UserError: The folder cannot be written; the message names the path.
    """
    path = folder / f"{name}.parquet"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMAS[name]), temporary)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; free some space, or choose another folder"
        ) from error
    return path
