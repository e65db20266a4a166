"""`merit-opt check`: every problem at once, before any weights load."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from merit_opt.cli.build import factories
from merit_opt.cli.parts import SPLIT_KEYS, SUITE_INJECTED, Outputs, build_suite
from merit_opt.cli.progress import display
from merit_opt.data.suite import Suite
from merit_opt.data.video import MediaError, read_frames
from merit_opt.errors import UserError
from merit_opt.models.device import resolve_device
from merit_opt.models.source import PairSource
from merit_opt.recipe.recipe import PARTS

GIB = 1024**3
SPACE_WANTED_GIB = 1.0


def run(cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Say what is fine and what is not.

    Raises:
        UserError: Something is not; every problem is in the message.
    """
    console = Console()
    built = factories(cfg, {"suite": SPLIT_KEYS}, suite=SUITE_INJECTED)
    outputs = Outputs(Path(cfg.output_dir))
    problems: list[str] = []

    def look(what: str, inspect: Callable[[], Iterator[str]]) -> None:
        try:
            for line in inspect():
                console.print(f"{what}: {line}", highlight=False, soft_wrap=True)
        except UserError as error:
            problems.append(f"{what}: {error}")

    with display(console) as shown:
        look("output_dir", lambda: _output_lines(outputs))
        look("device", lambda: iter([resolve_device(cfg.device)]))
        look("pair", lambda: _pair_lines(built["pair"].build()))
        look("suite", lambda: _suite_lines(build_suite(built["suite"], outputs, shown.stage)))
        look("storage", lambda: _storage_lines(built["storage"].build()))
        look("engine", lambda: iter([repr(built["engine"].build())]))
    if problems:
        raise UserError("\n  ".join([f"{len(problems)} problem(s):", *problems]))
    console.print("all is well; next: merit-opt search")


def _output_lines(outputs: Outputs) -> Iterator[str]:
    outputs.require_writable()
    free = shutil.disk_usage(outputs.root).free / GIB
    if free < SPACE_WANTED_GIB:
        raise UserError(f"{outputs.root} has {free:.1f} GiB free, {SPACE_WANTED_GIB} wanted")
    yield f"{outputs.root}, {free:.0f} GiB free"


def _pair_lines(source: PairSource) -> Iterator[str]:
    alignment = source.alignment
    counts = ", ".join(f"{alignment.count(part)} {part}" for part in PARTS)
    yield f"{source.vlm} and {source.backbone}"
    yield f"{alignment.n_layers} layers; tensors that can be merged: {counts}"
    for name, reason in alignment.kept.items():
        yield f"kept: {name} ({reason})"
    yield from source.notes


def _suite_lines(suite: Suite) -> Iterator[str]:
    roles = Counter(suite.role(s) for s in suite.samples)
    letters = Counter(s.letter for s in suite.samples)
    media = {m.digest: m.path for s in suite.samples for m in s.media}
    yield f"{suite.name}, {len(suite.samples)} samples on {len(media)} videos"
    yield "roles: " + ", ".join(f"{role} {n}" for role, n in sorted(roles.items()))
    yield "right letters: " + ", ".join(f"{x} {n}" for x, n in sorted(letters.items()))
    if broken := [str(e) for path in media.values() if (e := _trouble(path)) is not None]:
        raise UserError(f"{len(broken)} of {len(media)} videos: " + "; ".join(broken))


def _trouble(path: Path) -> MediaError | None:
    try:
        read_frames(path, 1)
    except MediaError as error:
        return error
    return None


def _storage_lines(storage: Any) -> Iterator[str]:
    studies = storage.get_all_studies()
    yield f"{len(studies)} studies" + "".join(f"; {s.study_name}" for s in studies)
