import json
import shutil
from dataclasses import replace

import pytest
from transformers import AutoModelForImageTextToText

from merit_opt.errors import UserError
from merit_opt.models import footprint as module
from merit_opt.models.footprint import VideoShape, footprint


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_sizes_are_those_of_the_real_features_and_weights(
    tiny_pair_live, small_packs, dtype, tiny_source
):
    found = footprint(replace(tiny_source, dtype=dtype), [VideoShape(16, 56, 56, 8.0)] * 12)
    tokens = [p.features.tokens for p in small_packs]
    width = 4 if dtype else 2
    assert found.visual_tokens == sum(len(t) for t in tokens)
    assert found.features == found.level == sum(t.numel() for t in tokens) * width
    layers = tiny_pair_live.model.get_decoder().layers
    attention = sum(p.numel() for layer in layers for p in layer.self_attn.parameters())
    assert found.attention == attention * width


def test_sizes_are_of_the_weights_as_stored_not_as_announced(tiny_source, tmp_path):
    claimed = shutil.copytree(tiny_source.vlm, tmp_path / "vlm")
    path = claimed / "config.json"
    config = json.loads(path.read_text())
    assert {config["dtype"], config["text_config"]["dtype"]} == {"bfloat16"}
    config["dtype"] = config["text_config"]["dtype"] = "float32"
    path.write_text(json.dumps(config))
    videos = [VideoShape(16, 56, 56, 8.0)]
    found = footprint(replace(tiny_source, vlm=str(claimed), dtype=None), videos)
    assert found == footprint(replace(tiny_source, dtype="bfloat16"), videos)


@pytest.mark.parametrize("frames", [16, 18, 64])
def test_a_video_too_large_to_be_made_up_takes_what_it_would(tiny_source, monkeypatch, frames):
    videos = [VideoShape(frames, 56, 56, 8.0)]
    expected = footprint(tiny_source, videos)
    monkeypatch.setattr(module, "NOISE_BYTES", 8 * 56 * 56 * 3)
    assert footprint(tiny_source, videos) == expected


@pytest.mark.parametrize(("rise", "expected"), [(0, 100), (4, 104), (50, None)])
def test_tokens_of_a_long_video_follow_from_its_beginning_or_are_a_sentence(
    tiny_source, monkeypatch, rise, expected
):
    monkeypatch.setattr(module, "NOISE_BYTES", 8 * 56 * 56 * 3)
    monkeypatch.setattr(module, "_counted", lambda source, shape: 100 + rise * (shape.frames // 8))
    videos = [VideoShape(100_000, 56, 56, 8.0)]
    if expected is not None:
        assert footprint(tiny_source, videos).visual_tokens == expected
        return
    with pytest.raises(UserError, match=r"100000 frames of 56 x 56 .* at most 8 frames"):
        footprint(tiny_source, videos)


def test_an_aligned_pair_is_not_described_a_second_time(tiny_source, monkeypatch):
    _ = tiny_source.alignment
    monkeypatch.setattr(AutoModelForImageTextToText, "from_config", pytest.fail)
    assert footprint(tiny_source, []).attention > 0


def test_nothing_is_nothing(tiny_source):
    assert footprint(tiny_source, []).features == 0
