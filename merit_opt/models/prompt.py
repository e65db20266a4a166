"""A question as the language model reads it."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from merit_opt.data.sample import LETTERS
from merit_opt.errors import UserError
from merit_opt.models.families.family import InPrompt, VisualFeatures
from merit_opt.models.pair import ModelPair


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


def encode_prompt(pair: ModelPair, text: str, features: VisualFeatures) -> EncodedPrompt:
    """The chat-templated question about one medium, ready for the answer's first token."""
    shown = features.prompt
    content = [{"type": shown.kind}] * shown.entries + [{"type": "text", "text": text}]
    chat = pair.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    input_ids = _token_ids(pair.processor, chat, shown)
    is_visual = input_ids == shown.token_id
    positions = pair.family.position_ids(pair.model, input_ids, features)
    return EncodedPrompt(input_ids, positions, is_visual)


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


def letter_ids(processor: Any, n_options: int) -> list[int]:
    """Token ids of the first `n_options` letters.

    Raises:
        UserError: The tokenizer splits a letter into several tokens, or does not know it.
    """
    tokenizer = processor.tokenizer
    ids = [tokenizer.encode(letter, add_special_tokens=False) for letter in LETTERS[:n_options]]
    unfit = [
        LETTERS[i]
        for i, tokens in enumerate(ids)
        if len(tokens) != 1 or tokens == [tokenizer.unk_token_id] or ids.count(tokens) > 1
    ]
    if unfit:
        raise UserError(f"this tokenizer has no single token for the letters {unfit}")
    return [tokens[0] for tokens in ids]
