"""Idefics3 (`Idefics3ForConditionalGeneration`) and its Llama text models.

It reads images: a video is shown as its frames, one image each, in order.
"""

from merit_opt.models.families.family import Family
from merit_opt.models.families.idefics2 import encode

IDEFICS3 = Family(
    model_type="idefics3",
    backbones={"llama": "llama"},
    encode=encode,
    video_entry="image",
)
