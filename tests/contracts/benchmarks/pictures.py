"""What made-up copies of benchmarks of pictures are written with."""

import io

import pyarrow as pa
from PIL import Image
from pyarrow import parquet


def picture(shade):
    """The bytes of a small PNG, another for each shade in 0 to 255."""
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()


def held(shade, path=None):
    """A picture as the hub's tables hold it."""
    return {"bytes": picture(shade), "path": path}


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)
