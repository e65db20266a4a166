from dataclasses import replace

import pytest

from merit_opt.attribution.anatomy import Anatomy, anatomy_of
from merit_opt.attribution.method import Bench
from merit_opt.evaluation.engine import Engine
from merit_opt.recipe.constructors import attention
from tests.unit.evaluation.conftest import SETTINGS, Told

RESTORED = attention(9, {3: 1.0, 5: 1.0})


@pytest.fixture(scope="session")
def tiny_anatomy(tiny_source) -> Anatomy:
    return anatomy_of(tiny_source)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr("merit_opt.evaluation.stats.RESAMPLES", 99)


@pytest.fixture(scope="module")
def halves(small_suite):
    """What is measured on, and what the recipe was chosen by."""
    samples = [s.id for s in small_suite.samples]
    return small_suite.only(samples[30:]), small_suite.only(samples[:30])


@pytest.fixture(scope="module")
def open_engine(tiny_pair_live, tmp_path_factory):
    settings = replace(SETTINGS, levels_gib=1.0, prefixes=1)
    with Engine(
        tiny_pair_live,
        settings,
        cache=tmp_path_factory.mktemp("cache"),
        starts=dict.fromkeys(range(9), 1.0),
        reporter=Told(),
    ) as engine:
        yield engine


@pytest.fixture
def bench(open_engine, tiny_anatomy, halves) -> Bench:
    return Bench(
        engine=open_engine,
        anatomy=tiny_anatomy,
        recipe=RESTORED,
        suite=halves[0],
        search=halves[1],
        seed=0,
        reporter=Told(),
    )
