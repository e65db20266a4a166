from dataclasses import replace

import pytest

from merit_opt.evaluation import engine as engine_module
from merit_opt.evaluation.cache import EvaluationCache
from merit_opt.evaluation.engine import Engine, EngineSettings
from merit_opt.models.forward import letter_log_probabilities

SETTINGS = EngineSettings(batch=8, threads=1, max_unscored=0.0)


def silent(_stage, _done, _total):
    pass


@pytest.fixture
def engine(tiny_pair_live, tmp_path):
    def make(cache=None, pair=None, **changes):
        pair = pair or replace(tiny_pair_live, videos={})
        folder = tmp_path / (cache or f"cache{len(list(tmp_path.iterdir()))}")
        folder.mkdir(exist_ok=True)
        settings = replace(SETTINGS, **changes)
        return Engine(pair, settings, EvaluationCache(folder), silent)

    return make


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
    """Sizes of the batches that reach the model."""
    sizes = []

    def counted(pair, model, questions):
        sizes.append(len(questions))
        return letter_log_probabilities(pair, model, questions)

    monkeypatch.setattr(engine_module, "letter_log_probabilities", counted)
    return sizes
