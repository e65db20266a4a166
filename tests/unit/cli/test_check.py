"""`merit-opt check` says every problem at once and loads no weights."""

import json
import re
import shutil
from pathlib import Path

import pytest
import transformers


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    """Loading weights of any kind fails the test."""

    def loaded(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded")

    for name in ("AutoModelForImageTextToText", "AutoModelForCausalLM", "PreTrainedModel"):
        monkeypatch.setattr(getattr(transformers, name), "from_pretrained", loaded)
    monkeypatch.setattr("safetensors.torch.load_file", loaded)


def test_what_is_well_is_said(merit_opt):
    done = merit_opt("check suite.clips=10")
    assert (done.code, done.err) == (0, "")
    subjects = [line.partition(":")[0] for line in done.out.splitlines()]
    assert list(dict.fromkeys(subjects))[:-1] == [
        "output_dir",
        "device",
        "pair",
        "suite",
        "storage",
        "engine",
    ]
    for part in (
        "9 decoder layers",
        "computed in float32",
        "attention: 63 tensors, 653.1 KiB",
        "mlp: 27",
        "norm: 18",
    ):
        assert f"pair: {part}" in done.out
    assert re.search(r"layer  3: attention 0\.2608, mlp 0\.0000, norm 0\.0000\n", done.out)
    assert "warning" not in done.out
    assert "clips, 50 samples on 10 media" in done.out
    assert done.out.endswith("all is well; next: merit-opt search\n")


def test_the_space_a_suite_will_need_is_said(merit_opt):
    done = merit_opt("check suite.clips=10")
    said = " ".join(done.out.split())
    assert "engine: 320 visual tokens; their features take 120.0 KiB in outputs/cache" in said
    assert "hidden states take 120.0 KiB a level, questions not counted; 8 of 8 levels fit" in said
    assert "self-attention takes 1.3 MiB, kept of the VLM and of the backbone" in said


def test_features_that_will_not_fit_are_a_problem(merit_opt):
    done = merit_opt("check suite.clips=10 engine.features_gib=0.0001")
    assert done.code == 2
    assert "take 120.0 KiB, more than engine.features_gib=0.0001; raise it" in done.err


def test_every_problem_is_told_at_once(merit_opt, tmp_path):
    (tmp_path / "a_file").touch()
    done = merit_opt(
        "check output_dir=a_file pair=custom pair.vlm=a pair.backbone=b suite.clips=0 "
        "storage.url=garbage engine.threads=0 device=gpu"
    )
    assert done.code == 2
    head, *problems = done.err.splitlines()
    assert head == "merit-opt: 6 problem(s):"
    assert [p.split(":")[0].strip() for p in problems] == [
        "output_dir",
        "device",
        "pair",
        "suite",
        "storage",
        "engine",
    ]
    assert "all is well" not in done.out


def test_a_backbone_of_another_size_is_refused_with_both(merit_opt, tmp_path, tiny_source):
    other = tmp_path / "other"
    shutil.copytree(tiny_source.backbone, other)
    config = json.loads((other / "config.json").read_text())
    config["num_hidden_layers"], config["intermediate_size"] = 7, 128
    config["layer_types"] = config["layer_types"][:7] if config.get("layer_types") else None
    (other / "config.json").write_text(json.dumps(config))
    done = merit_opt(
        f"check suite.clips=10 pair=custom pair.vlm={tiny_source.vlm} pair.backbone={other}"
    )
    assert done.code == 2
    assert (
        "pair: decoder layers: the VLM has 9, the backbone has 7; MLP width: the VLM has 256"
        in (done.err)
    )
    assert f"Is {other} the model {tiny_source.vlm} was tuned from?" in done.err


def test_each_broken_video_is_named_once(merit_opt, monkeypatch):
    from merit_opt.data.decode_pool import DecodePool
    from merit_opt.data.media_status import MediaError

    take = DecodePool.take

    def broken(pool, media):
        if media[0].path.stem in ("00003", "00007"):
            raise MediaError(media[0].path, "moov atom not found")
        return take(pool, media)

    monkeypatch.setattr(DecodePool, "take", broken)
    done = merit_opt("check suite.clips=10")
    assert done.code == 2
    told = done.err.splitlines()[1]
    assert told.startswith("  suite: 2 of 10 media: ")
    for video in ("00003.mp4", "00007.mp4"):
        assert told.count(f"{video}: moov atom not found") == 1


def test_what_is_not_read_again_is_listed_with_what_to_delete(merit_opt):
    from merit_opt.data.quarantine import Quarantine
    from merit_opt.data.sample import Media

    path = Path("outputs/cache/quarantine.json")
    media = (Media(Path("videos/a.mp4"), "0"),)
    Quarantine(path).add(media, "auto", "it was not decoded within 120 s", 120.0)
    done = merit_opt("check suite.clips=10")
    assert done.code == 0
    assert "engine: not read again: videos/a.mp4: it was not decoded within 120 s (20" in done.out
    assert f"engine: to read them again, delete {path}" in done.out
