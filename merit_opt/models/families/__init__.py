"""One file per model family, found by the checkpoint's `model_type`."""

from merit_opt.errors import UserError
from merit_opt.models.families.family import Family
from merit_opt.models.families.llava_onevision import LlavaOnevision
from merit_opt.models.families.qwen2_5_vl import Qwen25VL
from merit_opt.models.families.qwen2_vl import Qwen2VL
from merit_opt.models.families.qwen3_vl import Qwen3VL

FAMILIES: dict[str, Family] = {
    family.model_type: family for family in (Qwen2VL(), Qwen25VL(), Qwen3VL(), LlavaOnevision())
}


def family_of(model_type: str) -> Family:
    """The family of a VLM's `model_type`.

    Raises:
        UserError: No family file supports it.
    """
    if model_type not in FAMILIES:
        raise UserError(
            f"model_type {model_type!r} is not supported; supported: {', '.join(FAMILIES)}"
        )
    return FAMILIES[model_type]
