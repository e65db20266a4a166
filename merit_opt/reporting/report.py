"""A whole report: composed from facts, then written to a folder."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from merit_opt.errors import UserError
from merit_opt.files import write_bytes, write_text
from merit_opt.reporting.blocks import Report, Section, data
from merit_opt.reporting.comparison import comparison
from merit_opt.reporting.cost import cost
from merit_opt.reporting.depth import depth
from merit_opt.reporting.facts import StudyFacts
from merit_opt.reporting.frames import frames
from merit_opt.reporting.page import page, table_tex
from merit_opt.reporting.progress import progress
from merit_opt.reporting.reproduce import reproduce
from merit_opt.reporting.studies import studies
from merit_opt.reporting.style import FORMATS, Drawn, drawn
from merit_opt.reporting.summary import summary
from merit_opt.reporting.tables import to_csv, to_markdown

SCHEMA = 1
PAGE, DATA = "report.html", "data.json"
FIGURES, TABLES = "figures", "tables"
FORMS = ("csv", "md", "tex")
NAME = re.compile(r"[\w-]+")

Stage = Callable[[str, int, int], None]


def compose(facts: StudyFacts, others: Sequence[StudyFacts] = ()) -> Report:
    """The report of a study, beside others where there are any."""
    beside: tuple[Section, ...] = (studies((facts, *others)),) if others else ()
    return Report(
        title=facts.name,
        subtitle=_subtitle(facts),
        sections=(
            summary(facts),
            *beside,
            comparison(facts),
            depth(facts),
            progress(facts),
            frames(facts),
            cost(facts),
            reproduce(facts),
        ),
        foot=f"merit-opt {facts.versions.get('merit-opt', '')} · {facts.study.record.fingerprint}",
    )


def _subtitle(facts: StudyFacts) -> str:
    told = len(facts.study.trials)
    size = f"{facts.n_layers} decoder layers, " if facts.n_layers else ""
    return f"{size}{told} trial{'' if told == 1 else 's'}, pair {facts.study.fingerprint.get('pair', 'unknown')}"


def write_report(report: Report, folder: Path, stage: Stage) -> tuple[Path, ...]:
    """Write tables, figures, what they hold as JSON, and last the page; returns all files.

    Tables and figures of a report that was there before and that this one has not are removed.

    Args:
        report: What to write.
        folder: Where; made as needed.
        stage: Is told how it gets on.

    Raises:
        UserError: The folder cannot be written.
    """
    total = len(report.pictures) + 1
    files: list[Path] = []
    for table in report.tables:
        forms = {"csv": to_csv(table), "md": to_markdown(table), "tex": table_tex(table)}
        for suffix, content in forms.items():
            files.append(folder / TABLES / f"{table.name}.{suffix}")
            write_text(files[-1], content)
    figures: dict[str, Drawn] = {}
    for done, picture in enumerate(report.pictures):
        stage("drawing", done, total)
        figures[picture.name] = own = drawn(picture)
        for kind, content in own.files.items():
            files.append(folder / FIGURES / f"{picture.name}.{kind}")
            write_bytes(files[-1], content)
    _remove(_left(folder) - set(files))
    held = {"schema": SCHEMA, **data(report)}
    files.append(folder / DATA)
    write_text(files[-1], json.dumps(held, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    stage("writing the page", total - 1, total)
    files.append(folder / PAGE)
    write_text(files[-1], page(report, figures))
    return tuple(files)


def _left(folder: Path) -> set[Path]:
    """Tables and figures that the folder's data.json names; none where it is missing or torn."""
    found: set[Path] = set()
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        held = json.loads((folder / DATA).read_text())
        for block in (block for section in held["sections"] for block in section["blocks"]):
            for key, place, kinds in (("figure", FIGURES, FORMATS), ("table", TABLES, FORMS)):
                if NAME.fullmatch(block.get(key, "")):
                    found |= {folder / place / f"{block[key]}.{kind}" for kind in kinds}
    return found


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {path}: {error.strerror or error}") from error
