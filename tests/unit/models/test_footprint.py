import json
import shutil
from dataclasses import replace

import pytest
from transformers import AutoModelForImageTextToText

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


def test_an_aligned_pair_is_not_described_a_second_time(tiny_source, monkeypatch):
    _ = tiny_source.alignment
    monkeypatch.setattr(AutoModelForImageTextToText, "from_config", pytest.fail)
    assert footprint(tiny_source, []).attention > 0


def test_nothing_is_nothing(tiny_source):
    assert footprint(tiny_source, []).features == 0
