"""Whether two checkpoints can be merged, by their configurations alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from merit_opt.errors import PairMismatch
from merit_opt.models.checkpoint import Checkpoint
from merit_opt.models.families.family import Family

ACCEPTABLE = ("rope_theta", "rms_norm_eps")
_FIELDS = {
    "num_hidden_layers": "decoder layers",
    "hidden_size": "hidden size",
    "num_attention_heads": "attention heads",
    "num_key_value_heads": "key/value heads",
    "intermediate_size": "MLP width",
    "rms_norm_eps": "RMS norm epsilon",
    "hidden_act": "activation",
}


def require_same_architecture(
    family: Family, vlm: Checkpoint, text: Checkpoint, accept: Sequence[str]
) -> None:
    """A text model must be what the VLM's language model is.

    Args:
        family: The VLM's.
        vlm: The VLM.
        text: The backbone or the base.
        accept: Fields, of `ACCEPTABLE`, that may differ.

    Raises:
        PairMismatch: It is another type of model, or differs; the message lists how.
    """
    _require_kin(family, vlm, text)
    refused = [(field, told) for field, told in _differences(vlm, text) if field not in accept]
    if not refused:
        return
    hint = ""
    if all(field in ACCEPTABLE for field, _ in refused):
        fields = ",".join(field for field, _ in refused)
        hint = f" If you know and want that, pair.accept=[{fields}]"
    raise PairMismatch(
        "; ".join(told for _, told in refused)
        + f". Is {text} the model {vlm} was tuned from?{hint}"
    )


def architecture_notes(vlm: Checkpoint, backbone: Checkpoint) -> Iterator[str]:
    """What is unusual about a pair that is allowed."""
    for _, told in _differences(vlm, backbone):
        yield f"accepted by pair.accept: {told}"
    text = vlm.config.get_text_config()
    ours, theirs = _rope_scaling(text), _rope_scaling(backbone.config)
    if ours != theirs:
        yield f"RoPE is scaled otherwise ({ours} and {theirs}): the VLM's is kept"
    if text.vocab_size != backbone.config.vocab_size:
        yield (
            f"vocabularies differ ({text.vocab_size} and {backbone.config.vocab_size}): fine, "
            "embeddings and heads are not merged"
        )


def _require_kin(family: Family, vlm: Checkpoint, text: Checkpoint) -> None:
    own, other = vlm.config.get_text_config().model_type, text.config.model_type
    if own not in family.backbones:
        raise PairMismatch(
            f"a {family.model_type} VLM on {own} is not supported; on "
            f"{' or '.join(family.backbones)} it is"
        )
    if other != family.backbones[own]:
        raise PairMismatch(
            f"a {family.model_type} VLM on {own} pairs with {family.backbones[own]}, but {text} "
            f"is {other}"
        )


def _differences(vlm: Checkpoint, text: Checkpoint) -> Iterator[tuple[str, str]]:
    """Field of the configuration, and what the VLM's text part and a text model have in it."""
    own, role = vlm.config.get_text_config(), text.key.removeprefix("pair.")
    values = {
        field: (what, getattr(own, field, None), getattr(text.config, field, None))
        for field, what in _FIELDS.items()
    }
    values["rope_theta"] = ("RoPE theta", _rope_theta(own), _rope_theta(text.config))
    for field, (what, ours, theirs) in values.items():
        if ours != theirs:
            yield field, f"{what}: the VLM has {ours}, the {role} has {theirs}"


def _rope_theta(config: Any) -> float | None:
    return (getattr(config, "rope_parameters", None) or {}).get("rope_theta")


def _rope_scaling(config: Any) -> str:
    rope = getattr(config, "rope_parameters", None) or {}
    kind = rope.get("rope_type", "default")
    return kind if "factor" not in rope else f"{kind} by {rope['factor']:g}"
