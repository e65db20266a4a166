"""SmolVLM (`SmolVLMForConditionalGeneration`) and its Llama text models.

Its processor needs the package `num2words`.
"""

from merit_opt.models.families.family import Family
from merit_opt.models.families.idefics2 import encode

SMOLVLM = Family(
    model_type="smolvlm",
    backbones={"llama": "llama"},
    encode=encode,
    video_token="image",
)
