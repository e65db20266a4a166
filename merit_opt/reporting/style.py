"""How figures look, and how they are written."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file
from importlib.resources import files as resources
from io import BytesIO
from typing import Any, Literal

import matplotlib
from matplotlib import RcParams, rc_context, rc_params_from_file
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from merit_opt.reporting.blocks import Picture

Scheme = Literal["light", "dark"]
FORMATS = ("png", "svg", "pdf")
NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
PLACES = 6
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
    with as_file(resources("merit_opt.reporting") / f"{name}.mplstyle") as path:
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


def diverging() -> Colormap:
    """Blue below zero and red above it; in between what the figure lies on."""
    page = matplotlib.rcParams["figure.facecolor"]
    ends = ("#2166ac", "#b2182b") if _luminance(page) > 0.5 else ("#58a6e0", "#ee7158")
    return LinearSegmentedColormap.from_list("diverging", [ends[0], page, ends[1]])


def on(filled: Any) -> str:
    """What can be read on a filled cell."""
    return "white" if _luminance(filled) < 0.5 else "black"


def _luminance(colour_of: Any) -> float:
    red, green, blue = to_rgb(colour_of)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure in every form.

    Attributes:
        files: Format -> content.
        shown: Scheme -> what the page shows, a type of image and its content.
    """

    files: Mapping[str, bytes]
    shown: Mapping[Scheme, tuple[str, bytes]]


def drawn(picture: Picture[Any]) -> Drawn:
    """A picture as files, and as the page shows it; photographs look the same in both schemes."""
    files = _drawn(picture, "light", FORMATS)
    dark = _drawn(picture, "dark", ("png",))["png"]
    if picture.is_photo:
        return Drawn(files, {"light": ("jpeg", _jpeg(dark))})
    return Drawn(files, {"light": ("png", _few(files["png"])), "dark": ("png", _few(dark))})


def _drawn(picture: Picture[Any], scheme: Scheme, kinds: Iterable[str]) -> dict[str, bytes]:
    with styled(scheme):
        figure = picture.drawn()
        _lay_out(figure)
        found: dict[str, bytes] = {}
        for kind in kinds:
            out = BytesIO()
            figure.savefig(out, format=kind, metadata=NO_DATE.get(kind))
            found[kind] = out.getvalue()
        return found


def _lay_out(figure: Figure) -> None:
    """Once for all forms; rounded, as the solver's last digits differ from one time to the next."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axis in figure.axes:
        if axis.get_axes_locator() is None:
            axis.set_position(Bbox(axis.get_position().get_points().round(PLACES)))


def _few(png: bytes) -> bytes:
    """A picture in few colours."""
    out = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").quantize(COLOURS).save(out, "PNG", optimize=True)
    return out.getvalue()


def _jpeg(png: bytes) -> bytes:
    out = BytesIO()
    Image.open(BytesIO(png)).convert("RGB").save(out, "JPEG", quality=82, optimize=True)
    return out.getvalue()
