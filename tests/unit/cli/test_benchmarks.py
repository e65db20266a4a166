"""Every benchmark through the command line, on a made-up copy whose files are real media."""

import importlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.clips.render import render, write_mp4
from merit_opt.data.clips.scene import clip_events
from merit_opt.data.media.image import SUFFIXES

TEXT = {".json", ".jsonl", ".csv", ".tsv", ".parquet", ".srt", ".vtt"}
VARIANTS = [(name, variant) for name, b in BENCHMARKS.items() for variant in b.variants]
# The tiny pair knows the letters A to D.
MORE_LETTERS = "this tokenizer has no single token for"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Half a minute, longer than any window of the made-up rows."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    frames = render(clip_events(seed=3, clip=0), seed=3, clip=0)
    write_mp4(path, np.concatenate([frames] * 15))
    return path


@pytest.fixture
def copy(tmp_path, clip):
    """Writes a benchmark's copy with a picture or a video wherever it has one."""

    def write(name: str) -> Path:
        root = tmp_path / "copy"
        root.mkdir()
        importlib.import_module(f"tests.contracts.benchmarks.{name}").ROW.write(root)
        for path in (p for p in root.rglob("*") if p.is_file()):
            suffix = path.suffix.lower()
            if suffix in SUFFIXES:
                Pillow.new("RGB", (56, 56), (200, 30, 30)).save(path)
            elif suffix not in TEXT:
                shutil.copy(clip, path)
        return root

    return write


def folder_of(done) -> Path:
    (folder,) = re.findall(r"files: (\S+)/ \(result\.json", done.out)
    return Path(folder)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_benchmark_is_checked_and_measured(merit_opt, copy, name, variant):
    given = f"suite={name} suite.variant={variant} suite.root={copy(name)} recipe=uniform:0.5"
    given += " suite.max_unusable=0.5 suite.frames=4"
    checked = merit_opt(f"check {given}")
    assert checked.code == 0, checked.err
    assert f"suite: {name}" in checked.out

    done = merit_opt(f"evaluate {given}")
    if done.code and MORE_LETTERS in done.err:
        done = merit_opt(f"evaluate {given} suite.scorer=option_loglik")
    assert done.code == 0, done.err
    found = json.loads((folder_of(done) / "result.json").read_text())
    aggregates = [one["name"] for one in found["aggregates"]]
    assert aggregates == [one.name for one in BENCHMARKS[name].aggregates[variant]]
    assert found["suite"]["n"]["all"] > 0


def test_a_role_of_a_value_that_no_row_has_is_told_with_the_nearest(merit_opt, copy):
    root = copy("videomme")
    done = merit_opt(
        f"check suite=videomme suite.root={root} recipe=uniform:0.5 "
        "'suite.roles={TR: [Temporal Reasonin], TP: [Temporal Perception]}'"
    )
    assert done.code == 0
    assert "no sample has task_type 'Temporal Reasonin'" in done.out
    assert "did you mean 'Temporal Reasoning'?" in done.out
