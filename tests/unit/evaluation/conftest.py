from dataclasses import dataclass, field, replace

import pytest

from merit_opt.evaluation import engine as engine_module
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.models.forward import read_answers

SETTINGS = EngineSettings(
    threads=1,
    backbone="device",
    features_gib=1.0,
    levels_gib=0.0,
    host_levels_gib=0.0,
    prefixes=0,
    decoder="auto",
    decode_workers=1,
    decode_seconds=60.0,
    frames_in_flight=64,
)


@dataclass
class Told:
    """A reporter that remembers."""

    stages: list[tuple[str, int, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def stage(self, *step):
        self.stages.append(step)

    def warn(self, message):
        self.warnings.append(message)


@pytest.fixture(scope="session")
def settings():
    return SETTINGS


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def engine(tiny_pair_live, tmp_path, told):
    """Makes engines that hold the live pair one after the other."""
    held = []

    def make(cache=None, pair=None, starts=None, **changes):
        while held:
            held.pop().__exit__(None, None, None)
        folder = tmp_path / (cache or f"cache{len(list(tmp_path.iterdir()))}")
        asked = Engine(
            pair or tiny_pair_live,
            replace(SETTINGS, **changes),
            cache=folder,
            starts=starts or {},
            reporter=told,
        )
        held.append(asked.__enter__())
        return asked

    yield make
    while held:
        held.pop().__exit__(None, None, None)


@pytest.fixture(scope="module")
def few(small_suite):
    """The questions about the first three clips."""
    return small_suite.only(s.id for s in small_suite.samples[:15])


@pytest.fixture(scope="module")
def half(small_suite):
    """The questions about the first six clips."""
    return small_suite.only(s.id for s in small_suite.samples[:30])


@pytest.fixture
def forwards(monkeypatch):
    """Questions of each pack that reaches the model."""
    sizes = []

    def counted(pair, pack, hidden):
        sizes.append(len(pack.questions))
        return read_answers(pair, pack, hidden)

    monkeypatch.setattr(engine_module, "read_answers", counted)
    return sizes
