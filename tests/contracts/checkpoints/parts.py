"""What the small checkpoints share: text models, vision sizes, tokenizers, weights."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, ProcessorMixin

    from merit_opt.models.source import PairSource


TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 14,
}
THETA = 10_000.0
ROPE = {"rope_type": "default", "rope_theta": THETA}
BACKBONE_VOCABULARY = 104
SHARPNESS = 1.5
WORDS = [*"0123456789<,:", "seconds>", "Time", "Frame", "s:", "Frame", "from", "You", "frames"]
CHAT = (
    "{% for m in messages %}<|im_start|> {{ m['role'] }} {% for c in m['content'] %}"
    "{% if c['type'] == 'video' %}VIDEO{% elif c['type'] == 'image' %}IMAGE"
    "{% else %} {{ c['text'] }}{% endif %}{% endfor %} "
    "<|im_end|> {% endfor %}{% if add_generation_prompt %}<|im_start|> assistant{% endif %}"
)


def chat(image: str, video: str) -> str:
    """A chat template with what stands for an image and for a video."""
    return CHAT.replace("VIDEO", video).replace("IMAGE", image)


def text_config(model_type: str, words: Any, **changes: Any) -> dict[str, Any]:
    """Of the text model inside a VLM, as large as its tokenizer."""
    return TEXT | {
        "model_type": model_type,
        "vocab_size": len(words),
        "rope_parameters": ROPE,
        **changes,
    }


def text_model(model_type: str, **changes: Any) -> PreTrainedModel:
    """A backbone of a vocabulary of its own."""
    from transformers import AutoConfig, AutoModelForCausalLM

    fields = TEXT | {"vocab_size": BACKBONE_VOCABULARY, "rope_parameters": ROPE} | changes
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **fields))


def checkpoints(
    folder: Path, vlm: PreTrainedModel, backbone: PreTrainedModel, processor: ProcessorMixin
) -> PairSource:
    """Both on disk, no tensor of one equal to one of the other."""
    from merit_opt.models.source import folder_pair

    for seed, (name, model) in enumerate({"vlm": vlm, "backbone": backbone}.items()):
        spread_weights(model, seed)
        model.save_pretrained(folder / name)
    processor.save_pretrained(folder / "vlm")
    return folder_pair(folder / "vlm", folder / "backbone", "float32")


def spread_weights(model: PreTrainedModel, seed: int) -> None:
    """Weights whose every tensor is felt in the answers, norms and biases included."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                width = parameter[0].numel() if parameter.ndim != 3 else parameter.shape[-1]
                parameter.copy_(noise * SHARPNESS / math.sqrt(width))
            else:
                parameter.copy_(0.2 * noise + name.endswith("weight"))


def tokenizer(folder: Path, *, begins: bool = False, plain: tuple[str, ...] = (), **named: str):
    """The tiny pair's words, with digits to tell time in and the placeholders of a class.

    Args:
        folder: Where it is written; its parent exists.
        begins: Whether it puts a start before every text.
        plain: Special tokens without a name.
        named: Special tokens by the name that the processor knows them by.
    """
    from transformers import AutoTokenizer

    from merit_opt.models.tiny import tiny_folder

    base = tiny_folder("vlm_planted_3_5")
    model = json.loads((base / "tokenizer.json").read_text())
    vocabulary = model["model"]["vocab"]
    special = (*named.values(), *plain)
    for word in (*WORDS, *special):
        vocabulary.setdefault(word, len(vocabulary))
    known = {token["content"] for token in model["added_tokens"]}
    model["added_tokens"] += [
        model["added_tokens"][0] | {"id": vocabulary[token], "content": token}
        for token in special
        if token not in known
    ]
    digits = {"type": "Split", "pattern": {"Regex": "[0-9<.,:]"}, "behavior": "Isolated"}
    model["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [model["pre_tokenizer"], digits | {"invert": False}],
    }
    settings = json.loads((base / "tokenizer_config.json").read_text()) | named
    settings["model_max_length"] = TEXT["max_position_embeddings"]
    if begins:
        settings["bos_token"] = "<|im_start|>"
        start = {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}
        model["post_processor"]["single"].insert(0, start)
        model["post_processor"]["special_tokens"] = {
            "<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}
        }
    folder.mkdir()
    (folder / "tokenizer.json").write_text(json.dumps(model))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return AutoTokenizer.from_pretrained(folder)
