"""Which families mergekit cannot merge, and why.

Tried with small checkpoints of every family; those of Qwen3-VL had three levels of deepstack, and
experts in every layer where it has experts, as the published ones have.
"""

from collections.abc import Mapping

VERSION = "0.1.5"
_OTHER_NAMES = (
    "it looks for the tensors by other names than they have on disk, and drops most of them"
)

FAILS: Mapping[str, str] = {
    "qwen2_vl": (
        "it looks for num_hidden_layers at the top of the configuration, where transformers 5 has "
        "none"
    ),
    "llava_onevision": _OTHER_NAMES,
    "llava_next": _OTHER_NAMES,
    "llava_next_video": _OTHER_NAMES,
    "internvl": _OTHER_NAMES,
}
