"""How figures look, and how they are written."""

from collections.abc import Generator
from contextlib import contextmanager
from importlib.resources import as_file, files
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib import RcParams, rc_context, rc_params_from_file
from matplotlib.figure import Figure
from PIL import Image

from merit_opt.files import write_bytes
from merit_opt.reporting.blocks import Picture

Scheme = Literal["light", "dark"]
FORMATS = ("png", "svg", "pdf")
NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
COLOURS = 128  # of a figure in the page


@contextmanager
def styled(scheme: Scheme) -> Generator[None]:
    """Within the block figures are drawn in the report's style."""
    with rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_sheet("report"))
        if scheme == "dark":
            matplotlib.rcParams.update(_sheet("dark"))
        yield


def _sheet(name: str) -> RcParams:
    with as_file(files("merit_opt.reporting") / f"{name}.mplstyle") as path:
        return rc_params_from_file(path, use_default_template=False)


def colour(index: int) -> str:
    """A colour of the style that is set."""
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    return f"#{cycle[index % len(cycle)].lstrip('#')}"


def ink() -> str:
    """What text is written in, in the style that is set."""
    return str(matplotlib.rcParams["text.color"])


def pale() -> str:
    """What stands back, in the style that is set."""
    return str(matplotlib.rcParams["axes.edgecolor"])


def faint() -> str:
    """What is hardly seen, in the style that is set."""
    return str(matplotlib.rcParams["grid.color"])


def write_figures(folder: Path, picture: Picture[Any]) -> tuple[Path, ...]:
    """A picture as PNG, SVG and PDF files.

    Raises:
        UserError: The folder cannot be written.
    """
    with styled("light"):
        figure = picture.drawn()
        paths = tuple(folder / f"{picture.name}.{kind}" for kind in FORMATS)
        for path, kind in zip(paths, FORMATS, strict=True):
            write_bytes(path, _bytes(figure, kind))
    return paths


def small_png(picture: Picture[Any], scheme: Scheme) -> bytes:
    """A picture for the page, in few colours."""
    with styled(scheme):
        content = _bytes(picture.drawn(), "png")
    out = BytesIO()
    few = Image.open(BytesIO(content)).convert("RGB").quantize(COLOURS)
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


def jpeg(picture: Picture[Any]) -> bytes:
    """A picture of photographs for the page; it looks the same on light and dark."""
    with styled("dark"):
        content = _bytes(picture.drawn(), "png")
    out = BytesIO()
    Image.open(BytesIO(content)).convert("RGB").save(out, "JPEG", quality=82, optimize=True)
    return out.getvalue()


def _bytes(figure: Figure, kind: str) -> bytes:
    out = BytesIO()
    figure.savefig(out, format=kind, metadata=NO_DATE.get(kind))
    return out.getvalue()
