"""A question as the language model reads it."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

import torch
from torch import Tensor

from merit_opt.data.prompts import Prompt
from merit_opt.models.families.family import InPrompt, Kind, VisualFeatures
from merit_opt.models.pair import ModelPair

# Raise it with every change, here or in a family, that gives a question other tokens or positions.
PROMPTS = "prompts/1"
TODAY = datetime(2025, 1, 1, tzinfo=UTC)
CODES = "aAbBcdDeFHIjmMpRSTuUVwWxXyYzZ"  # pragma: allowlist secret
UNPADDED = "dHIjmMSy"


@dataclass(frozen=True, eq=False, slots=True)
class EncodedPrompt:
    """One question about one medium.

    Attributes:
        input_ids: int64 [length], the medium's placeholders expanded.
        position_ids: int64 [axes, length]; axes is 3 for M-RoPE, else 1.
        is_visual: bool [length], true where a visual feature takes the place of an embedding.
    """

    input_ids: Tensor
    position_ids: Tensor
    is_visual: Tensor


def encode_prompt(
    pair: ModelPair,
    prompt: Prompt,
    text: str,
    features: VisualFeatures,
    answer: Sequence[int] = (),
    between: Sequence[str] = (),
) -> EncodedPrompt:
    """The chat-templated question about one medium, and the first tokens of its answer.

    A template that writes today's date writes `TODAY`, so that a prompt is the same on every day.

    Args:
        pair: Gives the processor, and the model's positions.
        prompt: Gives the system message, and how the answer begins.
        text: The user's.
        features: Of the medium.
        answer: Token ids that follow the beginning of the answer.
        between: What is said before each entry that stands for the medium, and after the last one;
            empty for nothing.
    """
    shown = features.prompt
    content = _content(shown, between, text)
    system = [{"role": "system", "content": [{"type": "text", "text": prompt.system}]}]
    turns = [*(system if prompt.system else ()), {"role": "user", "content": content}]
    chat = _timeless(pair.processor).apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    asked = _token_ids(pair.processor, chat + prompt.answer_prefix, shown)
    input_ids = torch.cat([asked, asked.new_tensor(answer)])
    is_visual = input_ids == shown.token_id
    positions = pair.family.position_ids(pair.model, input_ids, features)
    return EncodedPrompt(input_ids, positions, is_visual)


def _content(shown: InPrompt, between: Sequence[str], text: str) -> list[dict[str, str]]:
    content: list[dict[str, str]] = []
    for said in between or [""] * (shown.entries + 1):
        content += [*([{"type": "text", "text": said}] if said else []), {"type": shown.kind}]
    return [*content[:-1], {"type": "text", "text": text}]


def answer_tokens(processor: Any, text: str) -> tuple[int, ...]:
    """Token ids of an answer by itself, so that the question before it keeps its own."""
    return tuple(processor.tokenizer.encode(text, add_special_tokens=False))


def placeholder_in(processor: Any, text: str) -> str | None:
    """What stands for media in this model's prompts, where the text itself holds it."""
    found = (getattr(processor, f"{kind}_token", None) for kind in get_args(Kind))
    return next((token for token in found if token is not None and token in text), None)


def _timeless(processor: Any) -> Any:
    """The processor, or one whose chat templates read a clock that stands still."""
    known = processor.chat_template
    templates: dict[str, str] = known if isinstance(known, dict) else {"default": known or ""}
    if not any("strftime_now" in template for template in templates.values()):
        return processor
    timeless = copy(processor)
    timeless.chat_template = {name: _CLOCK + t for name, t in templates.items()}
    return timeless


def _clock() -> str:
    """A macro that hides the `strftime_now` of transformers, whose line leaves no trace."""
    values = {f"%{code}": TODAY.strftime(f"%{code}") for code in CODES}
    values |= {f"%-{code}": values[f"%{code}"].lstrip("0") or "0" for code in UNPADDED}
    filters = "".join(f' | replace("{code}", "{value}")' for code, value in values.items())
    return f"{{% macro strftime_now(format) %}}{{{{ format{filters} }}}}{{% endmacro %}}\n"


_CLOCK = _clock()


def _token_ids(processor: Any, chat: str, shown: InPrompt) -> Tensor:
    """int64 [length], as the stock processor has them: no second start where the chat has one."""
    start = processor.tokenizer.bos_token
    options = {
        "add_special_tokens": start is None or not chat.startswith(start),
        "return_tensors": "pt",
    }
    if shown.texts is None:
        return processor(text=[chat], **options)["input_ids"][0]
    replacements = {f"{shown.kind}s_replacements": list(shown.texts)}
    (expanded,), _ = processor.get_text_with_replacements([chat], **replacements)
    return processor.tokenizer(expanded, **options)["input_ids"][0]
