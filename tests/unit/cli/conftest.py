"""The command line, called in this process in a folder of its own."""

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SMALL = "suite.clips=10 suite.tr_per_clip=2 suite.tp_per_clip=2 study.trials=3 tracking=none"


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, and what it said where."""

    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered clips and evaluations, made once a process."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def merit_opt(
    tmp_path: Path,
    cache: Path,
    quick_commands: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs `merit-opt LINE` in an empty folder; `@small` stands for a small search."""
    from merit_opt.cli.main import run

    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "cache").symlink_to(cache)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("COLUMNS", "120")

    def command(line: str) -> Done:
        capsys.readouterr()
        try:
            code = run(shlex.split(line.replace("@small", SMALL)))
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return command


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The devices that a pair's weights were loaded on meanwhile; no later test is given them."""
    from merit_opt.cli.parts import load_pair
    from merit_opt.models.source import PairSource
    from merit_opt.models.waiting import Place

    seen: list[str] = []
    load = PairSource.load

    def spy(source: PairSource, device: str, backbone: Place):
        seen.append(device)
        return load(source, device, backbone)

    load_pair.cache_clear()
    monkeypatch.setattr(PairSource, "load", spy)
    yield seen
    load_pair.cache_clear()
