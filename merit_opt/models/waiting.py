"""A text model's tensors, waiting to be merged into the VLM."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from merit_opt.models.alignment import AlignedTensor, layer_tensor
from merit_opt.models.stored import StoredTensor

Place = Literal["device", "host"]


@dataclass(frozen=True, eq=False, slots=True)
class WaitingWeights:
    """Tensors of a text model in the VLM's compute dtype.

    Attributes:
        dtype: The compute dtype.
        resident: Those kept in memory.
        stored: All of them, on disk.
    """

    dtype: torch.dtype
    resident: Mapping[AlignedTensor, Tensor]
    stored: Mapping[AlignedTensor, StoredTensor]

    def __getitem__(self, tensor: AlignedTensor) -> Tensor:
        if tensor in self.resident:
            return self.resident[tensor]
        return self.stored[tensor].read().to(self.dtype)


def waiting_weights(
    stored: Mapping[AlignedTensor, StoredTensor], model: Any, place: Place
) -> WaitingWeights:
    """The attention in memory, the rest on disk.

    Args:
        stored: The text model's tensors.
        model: The live VLM.
        place: Beside each layer of the VLM, or in the host's memory (pinned beside a GPU).
    """
    resident = {
        tensor: _placed(one.read().to(model.dtype), layer_tensor(model, tensor).device, place)
        for tensor, one in stored.items()
        if tensor.part == "attention"
    }
    return WaitingWeights(model.dtype, resident, stored)


def _placed(tensor: Tensor, device: torch.device, place: Place) -> Tensor:
    if place == "device":
        return tensor.to(device)
    return tensor.pin_memory() if device.type == "cuda" else tensor
