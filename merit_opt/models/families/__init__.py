"""One file per model family, found by the checkpoint's `model_type`."""

from merit_opt.errors import UserError
from merit_opt.models.families.family import Family
from merit_opt.models.families.idefics2 import IDEFICS2
from merit_opt.models.families.idefics3 import IDEFICS3
from merit_opt.models.families.internvl import INTERNVL
from merit_opt.models.families.llava_next import LLAVA_NEXT
from merit_opt.models.families.llava_next_video import LLAVA_NEXT_VIDEO
from merit_opt.models.families.llava_onevision import LLAVA_ONEVISION
from merit_opt.models.families.mistral3 import MISTRAL3
from merit_opt.models.families.qwen2_5_vl import QWEN2_5_VL
from merit_opt.models.families.qwen2_vl import QWEN2_VL
from merit_opt.models.families.qwen3_vl import QWEN3_VL
from merit_opt.models.families.qwen3_vl_moe import QWEN3_VL_MOE
from merit_opt.models.families.smolvlm import SMOLVLM
from merit_opt.models.families.video_llama_3 import VIDEO_LLAMA_3

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        QWEN2_VL,
        QWEN2_5_VL,
        QWEN3_VL,
        QWEN3_VL_MOE,
        LLAVA_ONEVISION,
        LLAVA_NEXT,
        LLAVA_NEXT_VIDEO,
        VIDEO_LLAMA_3,
        INTERNVL,
        IDEFICS2,
        IDEFICS3,
        SMOLVLM,
        MISTRAL3,
    )
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
