"""`merit-opt check` compares a pair with the memory of GPUs as loading does, and loads nothing."""

import re
from importlib.util import find_spec

import pytest

PLENTY = 10**9
ONE = "check only=[engine] suite.clips=10"
SPREAD = f"{ONE} device=balanced"

needs_accelerate = pytest.mark.skipif(
    find_spec("accelerate") is None, reason="accelerate is not installed"
)


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    """Loading weights fails the test."""

    def loaded(*_: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("merit_opt.models.source._load_vlm", loaded)


@pytest.fixture
def gpus(monkeypatch):
    """As they are seen before any weights load: so many, with so many bytes free on each."""

    def with_free(count, size):
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda gpu: (size, PLENTY))

    return with_free


@needs_accelerate
def test_what_each_gpu_will_take_is_said(merit_opt, gpus):
    gpus(2, PLENTY)
    done = merit_opt("check only=[device,engine] suite.clips=10 device=balanced")
    assert (done.code, done.err) == (0, "")
    assert "device: balanced\n" in done.out
    assert re.findall(r"engine: (cuda:\d) takes .*", done.out) == ["cuda:0", "cuda:1"]
    assert "takes 2.2 MiB of the VLM and 2 x 435.4 KiB of self-attention kept beside" in done.out


@needs_accelerate
def test_gpus_that_are_too_small_are_a_problem(merit_opt, gpus):
    gpus(2, 3_900_000)
    full = merit_opt(SPREAD)
    assert full.code == 2
    assert full.err == (
        "merit-opt: 1 problem(s):\n  engine: cuda:1 has 3.7 MiB free, too little for 2.5 MiB of the VLM "
        "and 2 x 870.8 KiB of self-attention kept beside it: use more GPUs, or larger ones, or "
        "engine.backbone=host, which keeps one set of self-attention in main memory\n"
    )
    less = merit_opt(f"{SPREAD} engine.backbone=host")
    assert (less.code, less.err) == (0, "")
    assert "cuda:1 takes 2.5 MiB of the VLM and 1 x 870.8 KiB of self-attention kept" in less.out


def test_one_gpu_takes_the_whole_pair(merit_opt, gpus):
    gpus(1, PLENTY)
    done = merit_opt(f"{ONE} device=auto engine.levels_gib=3")
    assert (done.code, done.err) == (0, "")
    assert "engine: cuda:0 takes 4.7 MiB of the VLM and 2 x 1.3 MiB of self-attention" in done.out
    assert done.out.endswith(
        "engine: 946.4 MiB are left for forwards, and for hidden states at most "
        "engine.levels_gib=3\nall is well\n"
    )


def test_one_gpu_that_is_too_small_is_a_problem_of_loading_too(merit_opt, gpus):
    gpus(1, 7_000_000)
    full = merit_opt(f"{ONE} device=cuda:0")
    sentence = (
        "cuda:0 has 6.7 MiB free, too little for 4.7 MiB of the VLM and 2 x 1.3 MiB of "
        "self-attention kept beside it: use a larger GPU, or several (device=balanced), or "
        "engine.backbone=host, which keeps one set of self-attention in main memory\n"
    )
    assert (full.code, full.err) == (2, f"merit-opt: 1 problem(s):\n  engine: {sentence}")
    for line in (
        "search @small",
        "evaluate suite.clips=10 recipe=base",
        "attribute suite.clips=10 recipe=uniform:0.5 method=scan",
    ):
        done = merit_opt(f"{line} device=cuda:0")
        assert (done.code, done.err) == (2, f"merit-opt: {sentence}")


def test_a_part_alone_asks_no_gpu_for_its_memory(merit_opt, gpus, monkeypatch):
    gpus(1, 0)
    asked = []
    monkeypatch.setattr("torch.cuda.mem_get_info", asked.append)
    done = merit_opt("check only=[output_dir,device,storage] device=cuda:0")
    assert (done.code, done.err, asked) == (0, "", [])
