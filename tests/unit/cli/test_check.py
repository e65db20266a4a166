"""`merit-opt check` says every problem at once and loads no weights."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import transformers
from huggingface_hub.errors import LocalEntryNotFoundError

from merit_opt.models.checkpoint import Checkpoint
from tests.unit.models.small import change_weights


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
    assert re.search(r"layer  3: attention 0\.[1-9]\d{3}, mlp 0\.0000, norm 0\.0000\n", done.out)
    assert "warning" not in done.out
    assert "clips, 50 samples on 10 media" in done.out
    assert done.out.endswith("all is well; next: merit-opt search suite.clips=10\n")


def table(done):
    """What is said of layers and sizes, and how much of it is about what is kept."""
    lines = [line for line in done.out.splitlines() if line.startswith("pair: ")]
    sizes = [x for x in lines if re.match(r"pair: (\d|attention:|mlp:|norm:|everything)", x)]
    return sizes, [re.sub(r"kept: .* \(", "(", line) for line in lines if "kept: " in line]


def test_the_table_is_told_before_the_weights_are_here(merit_opt, monkeypatch):
    here = merit_opt("check suite.clips=10")

    def opened(*_: object) -> None:
        raise AssertionError("weights were looked for")

    monkeypatch.setattr(Checkpoint, "has_weights", False)
    monkeypatch.setattr("merit_opt.models.source.read_shards", opened)
    done = merit_opt("check suite.clips=10")
    assert (done.code, done.err) == (0, "")
    assert table(done) == table(here)
    assert len(table(done)[0]) == 5
    assert len(table(done)[1]) == 1
    assert "pair: weights are not here yet: distances are told once a run fetched" in done.out
    assert "pair: distance" not in done.out
    assert "pair: a visual token takes 384 B of features and 384 B a level" in here.out


def test_warnings_are_counted_and_told_last_with_the_user_s_own_words(merit_opt, tiny_source):
    same = merit_opt("check suite.clips=10 pair.vlm=vlm_aligned")
    assert same.code == 0
    assert same.out.splitlines()[-1] == (
        "1 warning: the backbone equals the VLM in every layer: there is nothing to merge; "
        "next: merit-opt search suite.clips=10 pair.vlm=vlm_aligned"
    )
    other = shutil.copytree(tiny_source.backbone, Path("other"))
    change_weights(other, lambda weights: [t.neg_().mul_(3) for t in weights.values()])
    pair = f"pair=custom pair.vlm={tiny_source.vlm} pair.backbone=other pair.base=other"
    both = merit_opt(f"check suite.clips=10 {pair} pair.dtype=float32")
    assert both.code == 0
    last = both.out.splitlines()[-1]
    assert re.match(r"2 warnings: the backbone's .* sense; the base's .* sense; next: ", last)
    assert last.endswith(f"next: merit-opt search suite.clips=10 {pair} pair.dtype=float32")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_kept_of_the_vlm_must_be_finite_too(merit_opt, tiny_source, value):
    vlm = shutil.copytree(tiny_source.vlm, Path("vlm"))
    names = ("visual.blocks.0.norm1.weight", "model.norm.weight")
    change_weights(vlm, lambda w: [w[n].view(-1)[3:4].fill_(value) for n in names])
    done = merit_opt(f"check suite.clips=10 pair.vlm={vlm}")
    assert done.code == 2
    head, told = done.err.splitlines()
    assert head == "merit-opt: 1 problem(s):"
    assert all(name in told for name in names)
    assert re.match(r"  pair: \S+, \S+ in vlm/model\.safetensors: NaN or infinities; ", told)
    assert "engine: self-attention takes" in done.out
    assert "all is well" not in done.out


def test_the_hub_is_asked_once_where_it_cannot_be_reached(merit_opt, monkeypatch):
    asked = []

    def gone(name: str, **_: object) -> None:
        asked.append(name)
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr("merit_opt.models.checkpoint.snapshot_download", gone)
    done = merit_opt("check suite.clips=10 pair=custom pair.vlm=acme/vlm pair.backbone=acme/text")
    assert done.code == 2
    assert done.err.splitlines()[0] == "merit-opt: 1 problem(s):"
    assert asked == ["acme/vlm"]
    assert "engine: EngineSettings(" in done.out


def test_a_recipe_is_compared_with_the_pair(merit_opt):
    fits = merit_opt("check suite.clips=10 recipe=uniform:0.5")
    assert fits.code == 0
    assert "recipe: uniform:0.5 merges 9 of 9 layers\n" in fits.out
    assert fits.out.endswith("next: merit-opt evaluate suite.clips=10 recipe=uniform:0.5\n")
    lacks = merit_opt("check suite.clips=10 recipe=uniform:0.5:ties:1:0.2")
    assert lacks.code == 2
    assert "recipe: recipe=uniform:0.5:ties:1:0.2: the recipe subtracts the common" in lacks.err


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
    from merit_opt.data.media.decode_pool import DecodePool
    from merit_opt.data.media.status import MediaError

    take = DecodePool.take

    def broken(pool, media):
        if media[0].path.stem in ("00003", "00007"):
            raise MediaError(media[0].path, "moov atom not found")
        return take(pool, media)

    monkeypatch.setattr(DecodePool, "take", broken)
    done = merit_opt("check suite.clips=10")
    assert done.code == 2
    told = done.err.splitlines()[1]
    assert told.startswith("  suite: 2 of 10 media, which 10 of 50 samples show: ")
    assert told.endswith("(more than suite.max_unusable=0.02 allows)")
    for video in ("00003.mp4", "00007.mp4"):
        assert told.count(f"{video}: moov atom not found") == 1


def test_broken_videos_within_the_share_are_a_warning(merit_opt, monkeypatch):
    from merit_opt.data.media.decode_pool import DecodePool
    from merit_opt.data.media.status import MediaError

    take = DecodePool.take

    def broken(pool, media):
        if media[0].path.stem == "00003":
            raise MediaError(media[0].path, "moov atom not found")
        return take(pool, media)

    monkeypatch.setattr(DecodePool, "take", broken)
    done = merit_opt("check suite.clips=10 suite.max_unusable=0.1")
    assert (done.code, done.err) == (0, "")
    assert "1 warning: 1 of 10 media, which 5 of 50 samples show" in done.out


def test_a_suite_of_one_role_is_well_where_a_recipe_shall_be_measured(merit_opt):
    done = merit_opt("check suite.clips=10 suite.tp_per_clip=0")
    assert done.code == 2
    assert "suite: suite clips has no TP questions" in done.err
    assert merit_opt("check suite.clips=10 suite.tp_per_clip=0 recipe=uniform:0.5").code == 0


def test_what_is_not_read_again_is_listed_with_what_to_delete(merit_opt):
    from merit_opt.data.media.frames import ALL_FRAMES
    from merit_opt.data.media.quarantine import Quarantine
    from merit_opt.data.sample import Media

    path = Path("outputs/cache/quarantine.json")
    media = (Media(Path("videos/a.mp4"), "0"),)
    Quarantine(path).add((media, ALL_FRAMES, "auto"), "it was not decoded within 120 s", 120.0)
    done = merit_opt("check suite.clips=10")
    path.unlink()
    assert done.code == 0
    assert "suite: not read again: videos/a.mp4: it was not decoded within 120 s (20" in done.out
    assert f"suite: to read them again, delete {path}" in done.out


def test_it_looks_at_what_it_is_asked_for_alone(merit_opt, monkeypatch):
    def looked(*_: object) -> None:
        raise AssertionError("pair or suite were looked at")

    monkeypatch.setattr("merit_opt.cli.check.pair_lines", looked)
    monkeypatch.setattr("merit_opt.cli.check.built_suite", looked)
    done = merit_opt("check only=[output_dir,device,storage]")
    assert (done.code, done.err) == (0, "")
    *found, verdict = done.out.splitlines()
    assert [line.partition(":")[0] for line in found] == ["output_dir", "device", "storage"]
    assert verdict == "all is well"


def test_what_it_cannot_look_at_is_named(merit_opt):
    done = merit_opt("check only=[device,disk]")
    assert done.code == 2
    assert done.err == (
        "merit-opt: only takes some of output_dir, device, pair, recipe, suite, storage, engine; "
        "got disk\n"
    )


def test_a_part_that_is_not_well_is_a_problem(merit_opt, tmp_path):
    (tmp_path / "a_file").touch()
    done = merit_opt("check only=[output_dir] output_dir=a_file device=gpu")
    assert done.code == 2
    assert done.err.startswith("merit-opt: 1 problem(s):\n  output_dir: ")


def test_a_part_alone_is_told_as_among_all(merit_opt):
    def told(done, subject):
        return [line for line in done.out.splitlines() if line.startswith(f"{subject}: ")]

    whole = merit_opt("check suite.clips=10 recipe=uniform:0.5")
    for subject in ("recipe", "suite", "engine"):
        alone = merit_opt(f"check suite.clips=10 recipe=uniform:0.5 only=[{subject}]")
        assert (alone.code, alone.err) == (0, "")
        assert alone.out.splitlines() == [*told(whole, subject), "all is well"]
        assert told(whole, subject)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("only=[recipe] recipe=/nope/none.json", "recipe: recipe=/nope/none.json is no file"),
        ("only=[recipe]", "recipe: recipe= names none to look at; give it, or take recipe out of"),
        ("only=[recipe] recipe=base pair.vlm=/nope", "pair: "),
        ("only=[engine] engine.features_gib=0.0001", "engine: the visual features of the suite"),
        ("only=[suite] engine.threads=0", "engine: "),
    ],
)
def test_a_part_alone_fails_as_among_all(merit_opt, given, told):
    done = merit_opt(f"check suite.clips=10 {given}")
    assert (done.code, "all is well" in done.out) == (2, False)
    assert done.err.startswith(f"merit-opt: 1 problem(s):\n  {told}")


def test_a_part_alone_looks_into_media(merit_opt, monkeypatch):
    from merit_opt.data.media.decode_pool import DecodePool
    from merit_opt.data.media.status import MediaError

    def broken(_, media):
        raise MediaError(media[0].path, "moov atom not found")

    monkeypatch.setattr(DecodePool, "take", broken)
    done = merit_opt("check suite.clips=10 only=[suite]")
    assert (done.code, "suite: 10 of 10 media" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("given", "form"), [("suite", "suite"), ("null", "output_dir"), ("3", "output_dir")]
)
def test_what_is_no_list_is_told_the_form(merit_opt, given, form):
    done = merit_opt(f"check only={given}")
    assert done.code == 2
    assert done.err == f"merit-opt: only is a list, such as only=[{form}]\n"


def test_over_one_gpu_nothing_is_spread(merit_opt, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    done = merit_opt("check only=[device] device=balanced")
    assert done.code == 2
    assert "device: device=balanced spreads a model over two GPUs or more, and 1 can" in done.err
