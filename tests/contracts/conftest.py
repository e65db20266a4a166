"""Pairs of every family and what they are shown; a database of MLflow and what is seen in it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import pytest

from tests.contracts.stock import FEWEST_FRAMES, NEEDS, SOURCES, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from merit_opt.tracking.record import Tracker

PICTURES = {"small image": (23, 30), "wide image": (60, 200), "tall image": (150, 70)}
CLIPS = {"20 frames": 20, "fewest frames": 1, "5 frames": 5, "wide frames": 4}


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A family's checkpoints by its name, written once a process."""
    found = {}

    def write(name):
        if name not in found:
            for package in NEEDS.get(name, ()):
                pytest.importorskip(package)
            found[name] = SOURCES[name](tmp_path_factory.mktemp(name))
        return found[name]

    return write


@pytest.fixture(scope="session", params=SOURCES)
def source(request, written):
    import torch

    from merit_opt.models.families import family_of

    torch.set_num_threads(1)
    found = written(request.param)
    assert found.family is family_of(request.param)
    return found


@pytest.fixture(scope="session")
def loaded():
    """The pair of a source, loaded once a process; a test leaves its weights as it found them."""
    return cache(lambda source: source.load("cpu", "device"))


@pytest.fixture(scope="session")
def pair(source, loaded):
    return loaded(source)


@pytest.fixture(scope="session")
def bf16_pair(source, loaded):
    return loaded(replace(source, dtype="bfloat16"))


@pytest.fixture(params=["pair", "bf16_pair"], ids=["float32", "bfloat16"])
def either(request, source):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def clips(small_suite):
    """Media -> eight frames of its video, and its samples."""
    from merit_opt.data.media.video import read_video

    groups = {}
    for sample in small_suite.samples:
        groups.setdefault(sample.media[0], []).append(sample)
    return {
        media: (read_video(media.path, spread(8)), samples) for media, samples in groups.items()
    }


@pytest.fixture(params=[*CLIPS, *PICTURES])
def shown(request, source, small_suite):
    """A sample with what it is asked about: clips of several lengths, one with frames repeated, and of
    another shape, and still images of several shapes.
    """
    from merit_opt.data.media.image import Image
    from tests.contracts.stock import clip, noise

    sample, case = small_suite.samples[0], request.param
    if case in PICTURES:
        return sample, Image(noise(PICTURES[case]))
    count = CLIPS[case]
    if case == "fewest frames":
        count = FEWEST_FRAMES.get(source.family.model_type, count)
    return sample, clip(sample, count, is_wide=case == "wide frames")


@pytest.fixture(scope="session")
def template(run_folder: Path) -> Path:
    """An MLflow database without studies, made once for all the processes of a test run."""
    from merit_opt.tracking.local_store import prepare
    from merit_opt.tracking.mlflow import create_database

    database = run_folder / "mlflow_template" / "mlflow.db"
    prepare(database, create_database)
    return database


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    shutil.copy(template, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def open_mlflow(folder: Path) -> Callable[[], Tracker]:
    from merit_opt.tracking.mlflow import MlflowTracker

    uri = f"sqlite:///{folder}/mlflow.db"
    return lambda: MlflowTracker(uri=uri, artifacts=None, experiment="merit_opt", patience=0.0)


class Seen:
    """What a reader finds in the database."""

    def __init__(self, folder: Path) -> None:
        from mlflow import MlflowClient

        uri = f"sqlite:///{folder}/mlflow.db"
        self.client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self.experiment = self.client.get_experiment_by_name("merit_opt").experiment_id

    def runs(self, where: str) -> list:
        return list(self.client.search_runs([self.experiment], where))

    def parent(self):
        [run] = self.runs("tags.role = 'study'")
        return run

    def child(self, number: int):
        [run] = self.runs(f"tags.optuna_trial = '{number}'")
        return run

    def curve(self, name: str) -> list[tuple[int, float]]:
        history = self.client.get_metric_history(self.parent().info.run_id, name)
        return [(point.step, point.value) for point in history]

    def file(self, run, name: str) -> Path:
        return Path(urlparse(run.info.artifact_uri).path) / name


@pytest.fixture
def seen(folder: Path) -> Callable[[], Seen]:
    return lambda: Seen(folder)
