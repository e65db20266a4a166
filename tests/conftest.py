"""What every test shares: no network, no telemetry, where the repository is, and the tiny pair."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from xdist.remote import Producer
    from xdist.scheduler import Scheduling
    from xdist.workermanage import WorkerController

    from merit_opt.data.suite import Suite
    from merit_opt.models.pack import Pack
    from merit_opt.models.pair import ModelPair
    from merit_opt.models.source import PairSource
    from tests.postgres import Postgres

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    MLFLOW_DISABLE_TELEMETRY="true",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",  # there is a process of the tests for every core already
    TOKENIZERS_PARALLELISM="false",
)

# An example's time says more about the machine's other work than about the code.
settings.register_profile("merit_opt", deadline=None, max_examples=50)
settings.load_profile("merit_opt")

FAULTS = "tests/faults/"
WHOLE = ("tests/unit/cli/", "tests/docs/")
CROWDS = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Tests of a module share a process, so that what they share is made once. Of tests/faults so
    many modules run at a time that their crowds of processes do not starve each other; as they
    wait half of their time, there is one process more than cores.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _module(nodeid)

        def _assign_work_unit(self, node: WorkerController) -> None:
            others = [work for one, work in self.assigned_work.items() if one is not node]
            crowds = sum(map(_has_crowd, others))
            wanted = [m for m in self.workqueue if m.startswith(FAULTS) == (crowds < CROWDS)]
            if wanted:
                self.workqueue.move_to_end(wanted[0], last=False)
            super()._assign_work_unit(node)

    return ByModule(config, log)


def _has_crowd(work: Mapping[str, Mapping[str, bool]]) -> bool:
    """Whether a module of tests/faults is not finished: module -> test -> whether it is."""
    return any(m.startswith(FAULTS) and not all(tests.values()) for m, tests in work.items())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules of tests/faults first, then whole commands, then those of many tests: what is left
    for the end is small.
    """
    tests = Counter(_module(item.nodeid) for item in items)

    def turn(item: pytest.Item) -> tuple[bool, bool, int]:
        module = _module(item.nodeid)
        return not module.startswith(FAULTS), not module.startswith(WHOLE), -tests[module]

    items.sort(key=turn)


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]


@pytest.fixture(scope="session")
def repo() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run, the same in all its processes."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def empty_mlflow(run_folder: Path) -> Path:
    """An MLflow database without a run, made once for all processes of a test run."""
    from merit_opt.tracking.mlflow import create_database

    return _made_mlflow(run_folder, create_database)


def _made_mlflow(folder: Path, create: Callable[[Path], None]) -> Path:
    from merit_opt.tracking.local_store import prepare

    database = folder / "mlflow_template" / "mlflow.db"
    prepare(database, create)
    return database


@pytest.fixture
def quick_commands(monkeypatch: pytest.MonkeyPatch, run_folder: Path) -> None:
    """What takes most of the time of a small search or report, and no test of whole commands is
    about: many draws for intervals and for where a space begins, figures in every form, and making
    the tables of MLflow.
    """
    from merit_opt.tracking.mlflow import create_database

    monkeypatch.setattr("merit_opt.evaluation.stats.RESAMPLES", 99)
    monkeypatch.setattr("merit_opt.evaluation.gap.RESAMPLES", 99)
    monkeypatch.setattr("merit_opt.search.spaces.space.DRAWS", 20)
    monkeypatch.setattr("merit_opt.reporting.style.FORMATS", ("png",))

    def copied(file: Path) -> None:
        shutil.copy(_made_mlflow(run_folder, create_database), file)

    monkeypatch.setattr("merit_opt.tracking.mlflow.create_database", copied)


@pytest.fixture(scope="session")
def tiny_source() -> PairSource:
    """The packaged pair with a planted answer, in float32."""
    from merit_opt.models.tiny.pair import tiny_pair

    return tiny_pair(vlm="vlm_planted_3_5", dtype="float32")


@pytest.fixture(scope="session")
def tiny_pair_live(tiny_source: PairSource) -> ModelPair:
    """That pair loaded once a process; a test leaves its weights as it found them."""
    import torch

    torch.set_num_threads(1)
    return tiny_source.load("cpu", "device")


@pytest.fixture(scope="session")
def foreign_source(
    tiny_source: PairSource, tmp_path_factory: pytest.TempPathFactory
) -> PairSource:
    """The tiny VLM with a backbone that differs from it in every tensor, which the packaged one,
    equal to it in most MLPs and norms, does not.
    """
    from dataclasses import replace

    import torch
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_source.backbone, tmp_path_factory.mktemp("pair") / "foreign")
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: tensor + 0.1 * torch.randn(tensor.shape, generator=generator)
        for name, tensor in sorted(load_file(folder / "model.safetensors").items())
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return replace(tiny_source, backbone=folder)


@pytest.fixture(scope="session")
def foreign_pair_live(foreign_source: PairSource) -> ModelPair:
    """That pair loaded once a process; a test leaves its weights as it found them."""
    import torch

    torch.set_num_threads(1)
    return foreign_source.load("cpu", "device")


@pytest.fixture(scope="session")
def small_suite(tmp_path_factory: pytest.TempPathFactory) -> Suite:
    """60 questions about 12 rendered clips: 36 TR, 24 TP."""
    from merit_opt.data.clips.suite import clips_suite

    cache = tmp_path_factory.mktemp("clips")
    return clips_suite(
        cache=cache,
        clips=12,
        seed=7,
        tr_per_clip=3,
        tp_per_clip=2,
        max_unusable=0.0,
        progress=None,
    )


@pytest.fixture(scope="session")
def small_packs(tiny_pair_live: ModelPair, small_suite: Suite) -> tuple[Pack, ...]:
    """The suite as the model reads it: a pack a clip, in the suite's order."""
    import torch

    from merit_opt.data.media.frames import ALL_FRAMES
    from merit_opt.data.media.video import read_video
    from merit_opt.data.prompts import said
    from merit_opt.models.families.inputs import visual_features
    from merit_opt.models.labels import label_tokens
    from merit_opt.models.pack import Question, pack
    from merit_opt.models.prompt import encode_prompt

    pair, packs, prompt = tiny_pair_live, [], small_suite.asking.prompt
    for media in dict.fromkeys(s.media[0] for s in small_suite.samples):
        with torch.no_grad():
            video = read_video(media.path, ALL_FRAMES)
            features = visual_features(pair.family, pair.model, pair.processor, video)
        questions = [
            Question(
                s.id,
                encode_prompt(pair, prompt, said(prompt, s, ()), features),
                label_tokens(pair.processor, s.labels),
            )
            for s in small_suite.samples
            if s.media[0] == media
        ]
        packs.append(pack(questions, features))
    return tuple(packs)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server, started when it is first asked for."""
    from tests.postgres import running

    with running() as server:
        yield server
