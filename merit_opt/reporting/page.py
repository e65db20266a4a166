"""A report as one HTML page that needs nothing else."""

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from merit_opt.reporting.blocks import Report
from merit_opt.reporting.style import Drawn
from merit_opt.reporting.tables import Table, alignment, latex, latex_number

TEMPLATES = ("merit_opt.reporting", "templates")
PAGE_OF_ROWS = 40
JOINTS = re.compile(r"(?<=[_/:.,=])(?=\w)")


def page(report: Report, figures: Mapping[str, Drawn]) -> str:
    """The page; all text is escaped, all figures are in it.

    Args:
        report: What it says.
        figures: Of every picture, by its name.
    """
    sources = {
        name: {scheme: _uri(*image) for scheme, image in own.shown.items()}
        for name, own in figures.items()
    }
    return _html().get_template("page.html.jinja").render(report=report, sources=sources)


def table_tex(table: Table) -> str:
    """A table as LaTeX with booktabs; one that fills a page may break over several."""
    return _tex().get_template("table.tex.jinja").render(table=table, longest=PAGE_OF_ROWS)


@cache
def _html() -> Environment:
    found = Environment(
        loader=PackageLoader(*TEMPLATES),
        autoescape=select_autoescape(["html", "jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["minus"] = _minus
    found.globals["pieces"] = pieces  # type: ignore[assignment]
    return found


@cache
def _tex() -> Environment:
    found = Environment(  # nosec B701  # LaTeX, escaped by its filters
        loader=PackageLoader(*TEMPLATES),
        autoescape=False,
        undefined=StrictUndefined,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"latex": latex, "latex_number": latex_number, "alignment": alignment}
    return found


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def pieces(words: str) -> list[str]:
    """What a narrow column keeps whole: it breaks after what joins words, not amid letters."""
    return JOINTS.split(words)


def _minus(words: str) -> str:
    """A number with a minus as readers know it."""
    return words.replace("-", "\N{MINUS SIGN}")
