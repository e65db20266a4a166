"""The tokens that stand for an option's label."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from merit_opt.errors import UserError

SPACES = ("▁", "Ġ")  # of sentencepiece, and of byte-level tokenizers


def label_tokens(processor: Any, labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Of each label every single token that says it, the one for the bare label first.

    With a space before it and without, and of a word the capitalised form too: a model may answer
    with any of them, whatever its prompt ends in.

    Raises:
        UserError: A label has no single token, or shares all of them with other labels.
    """
    found = [_forms(processor.tokenizer, label) for label in labels]
    uses = Counter(token for forms in found for token in forms)
    own = [tuple(token for token in forms if uses[token] == 1) for forms in found]
    if unfit := [label for label, forms in zip(labels, own, strict=True) if not forms]:
        raise UserError(f"this tokenizer has no single token for the letters {unfit}")
    return tuple(own)


def _forms(tokenizer: Any, label: str) -> list[int]:
    written = (label,) if len(label) == 1 else (label, label.capitalize())
    tokens: list[int] = []
    for text in written:
        for said in (text, f" {text}"):
            encoded = tokenizer.encode(said, add_special_tokens=False)
            tokens += encoded if len(encoded) == 1 else ()
        pieces = (text, *(space + text for space in SPACES))
        tokens += [tokenizer.convert_tokens_to_ids(piece) for piece in pieces]
    unknown = (None, tokenizer.unk_token_id)
    return [token for token in dict.fromkeys(tokens) if token not in unknown]
