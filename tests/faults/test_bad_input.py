"""What becomes of a search when weights, media, caches and disks are not as they should be."""

import errno
import json
import re
import shlex
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from merit_opt.cli.main import run
from merit_opt.data.media.status import MediaError

SMALL = "suite.clips=10 suite.tr_per_clip=2 suite.tp_per_clip=2 device=cpu tracking=none"
NAME = "tiny-clips-layerwise-flips-s0"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Command = Callable[[str], Done]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered clips, made once; no evaluations."""
    from merit_opt.data.clips.suite import clips_suite

    cache = tmp_path_factory.mktemp("clips")
    clips_suite(
        cache=cache,
        clips=10,
        seed=0,
        tr_per_clip=1,
        tp_per_clip=0,
        max_unusable=0.0,
        progress=None,
    )
    return cache


@pytest.fixture
def merit_opt(tmp_path, clips, quick_commands, monkeypatch, capsys) -> Command:
    """Runs `merit-opt LINE` in a folder of its own whose clips are rendered already."""
    shutil.copytree(clips, tmp_path / "outputs" / "cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def command(line: str) -> Done:
        capsys.readouterr()
        code = run(shlex.split(line.replace("@small", SMALL)))
        return Done(code, *capsys.readouterr())

    return command


def result() -> dict:
    return json.loads(Path(f"outputs/studies/{NAME}/result.json").read_text())


def with_nan(folder: Path, to: Path, tensor: str) -> Path:
    """A copy of a checkpoint with one number of one tensor replaced by NaN."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, to)
    weights = load_file(to / "model.safetensors")
    (name,) = (n for n in weights if n.endswith(tensor))
    weights[name] = weights[name].clone()
    weights[name].view(-1)[0] = torch.nan
    save_file(weights, to / "model.safetensors", metadata={"format": "pt"})
    return to


def test_a_backbone_with_nan_fails_the_trials_that_use_it_and_says_where(
    merit_opt, tiny_source, tmp_path
):
    bad = with_nan(tiny_source.backbone, tmp_path / "bad", "layers.3.self_attn.q_proj.weight")
    done = merit_opt(
        f"search @small study.trials=12 pair=custom pair.vlm={tiny_source.vlm} "
        f"pair.backbone={bad} pair.dtype=float32"
    )
    assert done.code == 2
    assert re.match(r"merit-opt: 5 trials in a row failed, the last: .*layer 3", done.err), (
        done.err
    )
    with closing(sqlite3.connect("outputs/merit.db")) as connection:
        query = "SELECT t.state, v.value FROM trials t LEFT JOIN trial_values v USING (trial_id)"
        told = [row for row in connection.execute(query) if row[0] in ("COMPLETE", "FAIL")]
    assert sorted(told)[0] == ("COMPLETE", 0.0)
    assert [row for row in told if row[0] == "FAIL"] == [("FAIL", None)] * 5


def test_a_vlm_with_nan_is_told_in_a_sentence(merit_opt, tiny_source, tmp_path):
    bad = with_nan(tiny_source.vlm, tmp_path / "bad", "layers.5.mlp.up_proj.weight")
    pair = f"pair=custom pair.vlm={bad} pair.backbone={tiny_source.backbone} pair.dtype=float32"
    for line in (
        f"search @small study.trials=3 {pair}",
        f"evaluate recipe=base suite.clips=10 {pair}",
    ):
        done = merit_opt(line)
        assert done.code == 2
        assert re.match(r"merit-opt: .*layer 5", done.err), done.err
        assert "Traceback" not in done.err


@pytest.fixture
def unreadable(monkeypatch) -> Callable[[set[str]], None]:
    """Makes the decoder fail on videos of these names."""
    from merit_opt.data.media.decode_pool import DecodePool

    take = DecodePool.take

    def make(names: set[str]) -> None:
        shutil.rmtree("outputs/cache/features", ignore_errors=True)

        def broken(pool, media):
            if media[0].path.stem in names:
                raise MediaError(media[0].path, "no moov atom")
            return take(pool, media)

        monkeypatch.setattr(DecodePool, "take", broken)

    return make


def test_too_many_broken_videos_refuse_the_suite_and_name_each_once(merit_opt, unreadable):
    unreadable({f"{i:05d}" for i in range(10)})
    done = merit_opt("search @small study.trials=3")
    assert done.code == 2
    assert "samples cannot be asked, more than suite.max_unusable=0.02" in done.err
    named = re.findall(r"\d{5}\.mp4", done.err)
    assert named
    assert len(set(named)) == len(named)


def test_a_broken_video_within_the_share_is_left_out_for_every_recipe_alike(merit_opt, unreadable):
    unreadable({"00004"})
    done = merit_opt("evaluate recipe=uniform:0.5 suite.clips=10 suite.max_unusable=0.2")
    assert done.code == 0
    assert "samples could not be scored" in done.out
    assert "45 of them scored on both sides" in " ".join(done.out.split())
    (path,) = Path("outputs/evaluations").glob("*/result.json")
    found = json.loads(path.read_text())
    assert set(found["unscored"]) == {i for i in found["unscored"] if i.startswith("00004")}
    assert len(found["unscored"]) == 5
    n, pairs = found["suite"]["n"], found["difference"]
    assert (n["TR"] - pairs["TR"]["n"], n["TP"] - pairs["TP"]["n"]) == (3, 2)


def test_a_torn_cache_is_measured_again(merit_opt):
    assert merit_opt("search @small study.trials=4").code == 0
    first, texts = result(), ("", "{", "[]", "null", '{"schema": 1}', "\x00\x01")
    torn = sorted(Path("outputs/cache/evaluations").iterdir())
    assert len(torn) > len(texts)
    for number, path in enumerate(torn):
        path.write_text(texts[number % len(texts)])
    Path("outputs/merit.db").unlink()
    assert merit_opt("search @small study.trials=4").code == 0
    assert result() | {"seconds": 0} == first | {"seconds": 0}


def test_a_full_disk_is_told_with_the_path_and_leaves_nothing_half_written(merit_opt, monkeypatch):
    import os

    replace = os.replace

    def full(source, target, **kwargs):
        if str(target).endswith("result.json"):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return replace(source, target, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        done = merit_opt("search @small study.trials=3")
    assert done.code == 2
    path = f"outputs/studies/{NAME}/result.json"
    assert done.err == (
        f"merit-opt: cannot write {path}: No space left on device; "
        "free some space, or choose another folder\n"
    )
    assert not [p for p in Path(path).parent.iterdir() if p.name.startswith("tmp")]
    assert merit_opt("search @small study.trials=3").code == 0
    assert result()["trials"] | {"cached": 0} == {
        "complete": 3,
        "pruned": 0,
        "failed": 0,
        "cached": 0,
    }


def test_a_storage_of_something_else_is_told_and_left_as_it_was(merit_opt):
    with closing(sqlite3.connect("outputs/mlflow.db")) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    before = Path("outputs/mlflow.db").read_bytes()
    done = merit_opt("search @small study.trials=3 storage.url=sqlite:///outputs/mlflow.db")
    assert done.code == 2
    assert "it is a database of something else; choose another file" in done.err
    assert Path("outputs/mlflow.db").read_bytes() == before


def test_a_storage_that_is_locked_for_a_while_is_waited_for(merit_opt):
    import threading
    import time

    assert merit_opt("search @small study.trials=2").code == 0
    locked = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect("outputs/merit.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            locked.set()
            time.sleep(1.5)
            connection.execute("COMMIT")

    writer = threading.Thread(target=hold)
    writer.start()
    locked.wait()
    done = merit_opt("search @small study.trials=3")
    writer.join()
    assert (done.code, done.err) == (0, "")
    assert result()["trials"]["complete"] == 3
