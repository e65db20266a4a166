"""What a user is told who has pickled weights alone leads to a checkpoint with every tensor."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from merit_opt.errors import UserError
from merit_opt.models.source import folder_pair
from merit_opt.recipe.constructors import uniform
from tests.unit.models.small import TEXT, VLM, bits, exported, loaded, untie, vlm_folder

LITERAL = re.compile(r"from transformers import (\w+); (\1\.from_pretrained\(.*?\))\.save_pretr")


def pickled(folder):
    """The checkpoint with its weights as pickle."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def told(**roles):
    with pytest.raises(UserError) as refused:
        replace(folder_pair(VLM, TEXT, None), **{role: str(path) for role, path in roles.items()})
    return str(refused.value)


def converted(message, folder, new):
    """What the message says, done."""
    name, call = LITERAL.search(message).groups()
    made: dict[str, object] = {}
    exec(f"from transformers import {name}\nmodel = {call}", made)
    made["model"].save_pretrained(new)
    for path in folder.iterdir():
        if path.suffix != ".bin" and not (new / path.name).exists():
            shutil.copyfile(path, new / path.name)
    return new


def test_an_untied_vlm_keeps_its_head_its_dtype_and_its_processor(tmp_path):
    whole = vlm_folder(tmp_path / "whole", tied=False)
    folder = pickled(shutil.copytree(whole, tmp_path / "vlm"))
    message = told(vlm=folder)
    assert message.startswith("pair.vlm: ")
    assert "tokenizer, processor" in message
    assert message.endswith("give pair.vlm=NEW_FOLDER")
    new = converted(message, folder, tmp_path / "new")
    expected = load_file(whole / "model.safetensors")
    assert "lm_head.weight" in expected
    assert bits(load_file(new / "model.safetensors")) == bits(expected)
    pair = folder_pair(new, TEXT, None)
    assert pair.processor.tokenizer
    loaded(exported(pair, uniform(9, 0.5), tmp_path / "out"))


@pytest.mark.parametrize("role", ["backbone", "base"])
def test_an_untied_text_model_keeps_its_head(tmp_path, role):
    model = AutoModelForCausalLM.from_pretrained(TEXT)
    untie(model)
    model.save_pretrained(tmp_path / "whole")
    folder = pickled(shutil.copytree(tmp_path / "whole", tmp_path / "text"))
    message = told(**{role: folder})
    assert message.startswith(f"pair.{role}: ")
    new = converted(message, folder, tmp_path / "new")
    expected = load_file(tmp_path / "whole" / "model.safetensors")
    assert "lm_head.weight" in expected
    assert bits(load_file(new / "model.safetensors")) == bits(expected)
