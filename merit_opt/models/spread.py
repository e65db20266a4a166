"""A VLM over several GPUs: what goes where, decided before any weights load."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.integrations.accelerate import get_balanced_memory, infer_auto_device_map

from merit_opt.errors import UserError
from merit_opt.models.alignment import Alignment, layer_tensor

GIB = 1024**3

Free = Mapping[int, int]
"""GPU -> bytes that are free on it."""


@dataclass(frozen=True, eq=False, slots=True)
class Spread:
    """Which GPU every module is loaded to.

    Attributes:
        skeleton: The VLM in its compute dtype, on the meta device.
        gpus: Name of a module, or of a lone parameter -> its GPU; of every parameter some module
            that holds it is named.
    """

    skeleton: Any
    gpus: Mapping[str, int]

    def weights(self) -> dict[int, int]:
        """GPU -> bytes of the VLM on it."""
        return self._sizes({id(p) for p in self.skeleton.parameters()})

    def attention(self, alignment: Alignment) -> dict[int, int]:
        """GPU -> bytes of the decoder layers' self-attention on it."""
        own = (t for t in alignment.tensors if t.part == "attention")
        return self._sizes({id(layer_tensor(self.skeleton, t)) for t in own})

    def _sizes(self, chosen: set[int]) -> dict[int, int]:
        sizes = dict.fromkeys(sorted(set(self.gpus.values())), 0)
        for name, parameter in self.skeleton.named_parameters():
            if id(parameter) in chosen:
                sizes[self._gpu(name)] += parameter.nbytes
        return sizes

    def _gpu(self, name: str) -> int:
        while name not in self.gpus and name:
            name = name.rpartition(".")[0]
        return self.gpus[name]


def free_memory() -> Free:
    """Of all GPUs that are visible."""
    return {i: torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())}


def balanced(config: Any, dtype: torch.dtype, free: Free) -> Spread:
    """About as many bytes on each GPU, no decoder layer on two; needs accelerate.

    Args:
        config: The VLM's configuration.
        dtype: Of every weight.
        free: Of the GPUs that may be used.

    Raises:
        UserError: They do not hold the VLM.
    """
    with torch.device("meta"):
        skeleton: Any = AutoModelForImageTextToText.from_config(deepcopy(config), dtype=dtype)
    whole = set(skeleton._no_split_modules)
    most = get_balanced_memory(skeleton, {**free}, whole)
    gpus: Any = infer_auto_device_map(skeleton, most, whole)
    if not set(gpus.values()) <= free.keys():  # transformers would leave the rest on a disk
        size = sum(p.nbytes for p in skeleton.parameters())
        raise UserError(
            f"the VLM takes {size / GIB:.1f} GiB and does not fit {len(free)} GPUs with "
            f"{', '.join(f'{one / GIB:.1f}' for one in free.values())} GiB free: weights in main "
            "memory or on a disk cannot be merged in place; use more GPUs, or larger ones"
        )
    return Spread(skeleton, gpus)
