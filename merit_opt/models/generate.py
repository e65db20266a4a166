"""A model's answer in its own words, through the stock path."""

from collections.abc import Generator
from contextlib import contextmanager
from copy import copy
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from merit_opt.data.suite import Decoding
from merit_opt.models.families.family import VisualInputs
from merit_opt.models.pair import ModelPair
from merit_opt.models.prompt import EncodedPrompt

METADATA = "video_metadata"  # asked of the processor, and no input of the model

# What a checkpoint may set beside these moves no greedy choice.
GREEDY: dict[str, Any] = {
    "do_sample": False,
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "temperature": 1.0,
    "top_k": 50,
    "top_p": 1.0,
}


@torch.no_grad()
def spoken(
    pair: ModelPair, prompt: EncodedPrompt, medium: VisualInputs, decoding: Decoding, seed: int
) -> str:
    """What the live model says after the prompt, without special tokens.

    Args:
        pair: With the live model, merged or not.
        prompt: The question.
        medium: What the processor makes of the medium that it is about.
        decoding: How tokens are chosen, and how many at most.
        seed: Of the choice, where the model's own settings draw; no other generator is moved.

    Raises:
        FloatingPointError: The model's numbers are not finite.
    """
    model = pair.model
    values = {name: _on(model, value) for name, value in stock_inputs(prompt, medium).items()}
    cuda = [device for device in pair.devices if device.type == "cuda"]
    with torch.random.fork_rng(devices=cuda), _finite(model):
        torch.manual_seed(seed)
        tokens = model.generate(**values, generation_config=_settings(model, decoding))
    answer = tokens[0, len(prompt.input_ids) :]
    return pair.processor.tokenizer.decode(answer, skip_special_tokens=True)


@contextmanager
def _finite(model: Any) -> Generator[None]:
    """No word is chosen by numbers that are not finite: inside, they raise `FloatingPointError`."""

    def check(_head: Any, _inputs: Any, logits: Tensor) -> None:
        if not torch.isfinite(logits[:, -1]).all():
            raise FloatingPointError("logits are not finite")

    hook = model.get_output_embeddings().register_forward_hook(check)
    try:
        yield
    finally:
        hook.remove()


def stock_inputs(prompt: EncodedPrompt, medium: VisualInputs) -> dict[str, Any]:
    """What the processor makes of prompt and medium together, by its own names."""
    ids = prompt.input_ids[None]
    values = {**medium.values, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if (types := medium.values.get("mm_token_type_ids")) is not None:
        values["mm_token_type_ids"] = prompt.is_visual[None].to(types) * types.max()
    return {name: value for name, value in values.items() if name != METADATA}


def _settings(model: Any, decoding: Decoding) -> GenerationConfig:
    settings = copy(model.generation_config)
    settings.update(max_new_tokens=decoding.max_new_tokens, max_length=None)
    if decoding.how == "greedy":
        settings.update(**GREEDY)
    return settings


def _on(model: Any, value: Any) -> Any:
    return value.to(model.device) if isinstance(value, Tensor) else value
