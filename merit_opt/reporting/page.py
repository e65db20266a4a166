"""A report as one HTML page that needs nothing else."""

from base64 import b64encode
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from merit_opt.reporting.blocks import Picture, Report
from merit_opt.reporting.style import jpeg, small_png
from merit_opt.reporting.tables import Table, alignment, latex, latex_number

TEMPLATES = ("merit_opt.reporting", "templates")


def page(report: Report) -> str:
    """The page; all text is escaped, all figures are in it."""
    return _html().get_template("page.html.jinja").render(report=report)


def table_tex(table: Table) -> str:
    """A table as LaTeX with booktabs."""
    return _tex().get_template("table.tex.jinja").render(table=table)


@cache
def _html() -> Environment:
    found = Environment(
        loader=PackageLoader(*TEMPLATES),
        autoescape=select_autoescape(["html", "jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"sources": _sources, "minus": _minus}
    return found


@cache
def _tex() -> Environment:
    found = Environment(
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
    )
    found.filters |= {"latex": latex, "latex_number": latex_number, "alignment": alignment}
    return found


def _sources(picture: Picture[Any]) -> dict[str, str]:
    """The figure as data URIs: one of photographs, or one for each scheme of colours."""
    if picture.is_photo:
        return {"light": _uri("jpeg", jpeg(picture))}
    return {
        scheme: _uri("png", small_png(picture, scheme))
        for scheme in ("light", "dark")  # type: ignore[misc]
    }


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def _minus(words: str) -> str:
    """A number with a minus as readers know it."""
    return words.replace("-", "−")
