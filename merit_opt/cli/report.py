"""`merit-opt report`: tables, figures and one self-contained page about a study."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from merit_opt.cli.build import Factory, factories
from merit_opt.cli.gathered import Gathering, gather, gather_least
from merit_opt.cli.parts import Outputs
from merit_opt.cli.progress import SELDOM, display
from merit_opt.errors import UserError
from merit_opt.reporting.facts import StudyFacts
from merit_opt.reporting.report import compose, write_report
from merit_opt.tracking.record import Tracker, TrackingUnavailable

MOST_SAMPLES = 12
FOLDER = "report"


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Write the report and say where it is."""
    console = Console()
    built = factories(cfg, {})
    if not 0 <= cfg.samples <= MOST_SAMPLES:
        raise UserError(f"samples lies in 0 to {MOST_SAMPLES}, got {cfg.samples}")
    outputs = Outputs(Path(cfg.output_dir))
    folder = outputs.study(cfg.study) / FOLDER
    others = [name for name in dict.fromkeys(cfg.other) if name != cfg.study]
    _require_storage(built["storage"])
    tracker: Tracker = built["tracking"].build()
    with display(console, every=SELDOM) as shown:
        ask = Gathering(built["storage"].build(), outputs, cfg.samples, cfg.distances, shown.stage)
        beside = [gather_least(ask, name) for name in others]
        facts = gather(ask, cfg.study)
        files = write_report(compose(facts, beside), folder, shown.stage)
    lines = [
        f"report: {files[-1]}",
        f"files: {folder}/ (figures/ as PNG, SVG and PDF; tables/ as CSV, Markdown and LaTeX; data.json)",
    ]
    if kept := _attached(tracker, facts, files):
        lines.append(kept)
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _require_storage(storage: Factory) -> None:
    """A storage in a file is there: opening it would make a new one.

    Raises:
        UserError: It is not.
    """
    given = storage.arguments
    place = str(given.get("path") or given.get("url", "")).removeprefix("sqlite:///")
    if "://" not in place and not Path(place).exists():
        raise UserError(
            f"there is no study storage {place}; give output_dir= or storage= of the search"
        )


def _attached(tracker: Tracker, facts: StudyFacts, files: tuple[Path, ...]) -> str:
    """Keep page and figures with the study's run; what came of it, in words."""
    kept = [path for path in files if path.suffix in (".png", ".html")]
    try:
        is_known = tracker.attach(facts.study.record, FOLDER, kept)
    except TrackingUnavailable as error:
        return f"warning: {error}; the report lies in its folder alone"
    return f"tracked: {len(kept)} files under {FOLDER}/ of the study's run" if is_known else ""
