import hashlib
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from merit_opt.data.clips.questions import NUMBERS
from merit_opt.data.clips.scene import ACTIONS, COLOURS, SHAPES
from merit_opt.errors import UserError
from merit_opt.models.tiny import WEIGHTS, tiny_folder, tiny_names

VLMS = [name for name in tiny_names() if name.startswith("vlm_")]


def test_the_packaged_checkpoints_are_these():
    assert tiny_names() == ("text", "vlm_aligned", "vlm_planted_3_5", "vlm_planted_3_6")


def test_provenance_names_every_checkpoint_with_its_digest():
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| `([0-9a-f]{64})` \|$",
                           (WEIGHTS / "PROVENANCE.md").read_text(), re.MULTILINE))  # fmt: skip
    assert rows == {
        name: hashlib.sha256((tiny_folder(name) / "model.safetensors").read_bytes()).hexdigest()
        for name in tiny_names()
    }


@pytest.mark.parametrize("name", tiny_names())
def test_weights_are_bfloat16_and_small(name):
    file = tiny_folder(name) / "model.safetensors"
    assert {t.dtype for t in load_file(file).values()} == {torch.bfloat16}
    assert file.stat().st_size < 2.6e6


@pytest.mark.parametrize("name", tiny_names())
def test_they_load_with_the_auto_classes_without_missing_or_unused_weights(name):
    auto_class = AutoModelForCausalLM if name == "text" else AutoModelForImageTextToText
    _, info = auto_class.from_pretrained(
        tiny_folder(name), dtype=torch.float32, output_loading_info=True
    )
    assert not any(info.values()), info


@pytest.mark.parametrize("name", VLMS)
def test_the_processor_knows_every_word_of_the_clips_and_one_token_a_letter(name):
    tokenizer = AutoProcessor.from_pretrained(tiny_folder(name)).tokenizer
    questions = "object number backwards after before action shape of color shown ? options"
    words = [*COLOURS, *SHAPES, *ACTIONS, *NUMBERS, *"ABCD", *questions.split()]
    ids = tokenizer(" ".join(words))["input_ids"]
    assert len(ids) == len(words)
    assert tokenizer.unk_token_id not in ids


def test_the_language_model_of_the_aligned_vlm_is_the_backbone():
    vlm = load_file(tiny_folder("vlm_aligned") / "model.safetensors")
    text = load_file(tiny_folder("text") / "model.safetensors")
    assert all(torch.equal(vlm[name], tensor) for name, tensor in text.items())


def test_a_folder_of_one_s_own_is_itself(tmp_path, monkeypatch):
    assert tiny_folder(str(tmp_path)) == tmp_path
    (tmp_path / "text").mkdir()
    monkeypatch.chdir(tmp_path)
    assert tiny_folder("./text") == Path("text")
    assert tiny_folder("text") == WEIGHTS / "text"


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(UserError, match=r"got 'vlm_planted_35'; did you mean 'vlm_planted_3_5'\?"):
        tiny_folder("vlm_planted_35")
