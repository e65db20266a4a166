"""Qwen3-VL with experts (`Qwen3VLMoeForConditionalGeneration`) and Qwen3-MoE text models.

Experts and router stay the VLM's, and so do the norms, which go with them.
"""

from merit_opt.models.families.family import Family
from merit_opt.models.families.qwen2_vl import mrope_positions
from merit_opt.models.families.qwen3_vl import encode

QWEN3_VL_MOE = Family(
    model_type="qwen3_vl_moe",
    backbones={"qwen3_vl_moe_text": "qwen3_moe"},
    encode=encode,
    position_ids=mrope_positions,
    parts=("attention",),
)
