"""What every test shares: no network, no telemetry, where the repository is, and the tiny pair."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

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
    TOKENIZERS_PARALLELISM="false",
)

# An example's time says more about the machine's other work than about the code.
settings.register_profile("merit_opt", deadline=None, max_examples=50)
settings.load_profile("merit_opt")

FAULTS = "tests/faults/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Tests of a module share a process, so that what they share is made once; so do all of
    tests/faults, whose crowds of processes would starve each other.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _unit(nodeid)

    return ByModule(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those of tests/faults first, which take longest, then modules of many tests."""
    tests = Counter(_unit(item.nodeid) for item in items)
    items.sort(key=lambda item: (_unit(item.nodeid) != FAULTS, -tests[_unit(item.nodeid)]))


def _unit(nodeid: str) -> str:
    """What runs in one process."""
    return FAULTS if nodeid.startswith(FAULTS) else nodeid.partition("::")[0]


@pytest.fixture(scope="session")
def repo() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this test run alone, one for all its processes."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals, and where the recipes of a space begin, from few draws: else half of the time of
    a small search, and no test of whole commands is about them.
    """
    monkeypatch.setattr("merit_opt.evaluation.stats.RESAMPLES", 99)
    monkeypatch.setattr("merit_opt.evaluation.gap.RESAMPLES", 99)
    monkeypatch.setattr("merit_opt.search.spaces.space.DRAWS", 20)


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
    import shutil
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
