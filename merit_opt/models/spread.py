"""What of a pair goes to which GPU, and whether they hold it: decided before any weights load."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText
from transformers.integrations.accelerate import get_balanced_memory, infer_auto_device_map

from merit_opt.errors import UserError
from merit_opt.models.alignment import Alignment, layer_tensor
from merit_opt.models.checkpoint import first_lines
from merit_opt.models.device import BALANCED, device_type
from merit_opt.models.waiting import Place
from merit_opt.units import size_text

Free = Mapping[int, int]
"""GPU -> bytes that are free on it."""
WHOLE = ""
"""Name of the whole VLM among its modules."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one GPU takes of a pair, in bytes.

    Attributes:
        gpu: Which.
        weights: Of the VLM.
        attention: One set of its layers' self-attention.
        copies: How many such sets are kept beside the VLM.
        free: On the GPU, before anything is loaded.
    """

    gpu: int
    weights: int
    attention: int
    copies: int
    free: int

    @property
    def wanted(self) -> int:
        """Bytes that it takes in all, hidden states and forwards apart."""
        return self.weights + self.copies * self.attention

    def __str__(self) -> str:
        return (
            f"{size_text(self.weights)} of the VLM and {self.copies} x "
            f"{size_text(self.attention)} of self-attention kept beside it"
        )


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


@dataclass(frozen=True, slots=True)
class Plan:
    """Where a pair is to be loaded.

    Attributes:
        gpus: As `Spread.gpus`, of a VLM over several; None = it goes to one device.
        shares: Of each GPU; of the CPU there is none.
    """

    gpus: Mapping[str, int] | None
    shares: tuple[Share, ...]

    def require_room(self) -> None:
        """Every GPU must hold what it takes.

        Raises:
            UserError: Some do not; the message says what they take and what would help.
        """
        full = [share for share in self.shares if share.wanted > share.free]
        if not full:
            return
        told = (f"cuda:{s.gpu} has {size_text(s.free)} free, too little for {s}" for s in full)
        more = "use more GPUs, or larger ones"
        if self.gpus is None:
            more = f"use a larger GPU, or several (device={BALANCED})"
        if all(s.copies > 1 and s.weights + s.attention <= s.free for s in full):
            more += (
                ", or engine.backbone=host, which keeps one set of self-attention in main memory"
            )
        raise UserError(f"{'; '.join(told)}: {more}")


def planned(
    config: Any, dtype: torch.dtype, alignment: Alignment, device: str, backbone: Place
) -> Plan:
    """What goes to which GPU, and what is free there.

    Args:
        config: The VLM's configuration.
        dtype: Of every weight.
        alignment: How the backbone corresponds to it.
        device: As `resolve_device` returns it.
        backbone: Where the backbone's attention waits.

    Raises:
        UserError: Several GPUs do not hold the VLM, or one does not answer.
    """
    if not (gpus := _gpus(device)):
        return Plan(None, ())
    free = free_memory(gpus)
    if device == BALANCED:
        spread = balanced(config, dtype, free)
    else:
        spread = Spread(_skeleton(config, dtype), {WHOLE: gpus[0]})
    attention, copies = spread.attention(alignment), 2 if backbone == "device" else 1
    shares = (
        Share(gpu, weights, attention[gpu], copies, free[gpu])
        for gpu, weights in spread.weights().items()
    )
    return Plan(spread.gpus if device == BALANCED else None, tuple(shares))


def free_memory(gpus: Iterable[int]) -> Free:
    """What could still be loaded to each: what this process holds and does not use is free too.

    Raises:
        UserError: A GPU does not answer.
    """
    return {gpu: _free(gpu) for gpu in gpus}


def balanced(config: Any, dtype: torch.dtype, free: Free) -> Spread:
    """About as many bytes on each GPU, no decoder layer on two; needs accelerate.

    Args:
        config: The VLM's configuration.
        dtype: Of every weight.
        free: Of the GPUs that may be used.

    Raises:
        UserError: They do not hold the VLM.
    """
    skeleton = _skeleton(config, dtype)
    whole = set(skeleton._no_split_modules)
    most = get_balanced_memory(skeleton, {**free}, whole)
    gpus: Any = infer_auto_device_map(skeleton, most, whole)
    if not set(gpus.values()) <= free.keys():  # transformers would leave the rest on a disk
        size = sum(p.nbytes for p in skeleton.parameters())
        room = ", ".join(f"{size_text(one)} on cuda:{gpu}" for gpu, one in free.items())
        raise UserError(
            f"the VLM takes {size_text(size)} and does not fit what is free, {room}: weights in "
            "main memory or on a disk cannot be merged in place; use more GPUs, or larger ones"
        )
    return Spread(skeleton, gpus)


@contextmanager
def full_is_told() -> Generator[None]:
    """Loading to GPUs, inside the block; what else runs there may have filled them meanwhile.

    Raises:
        UserError: One ran out of memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(
            f"a GPU ran out of memory while weights were loaded: {first_lines(error)}; end what "
            "else uses it, or use a larger one, or more"
        ) from None


def _gpus(device: str) -> Sequence[int]:
    if device == BALANCED:
        return range(torch.cuda.device_count())
    return [torch.device(device).index or 0] if device_type(device) == "cuda" else []


def _skeleton(config: Any, dtype: torch.dtype) -> Any:
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(deepcopy(config), dtype=dtype)


def _free(gpu: int) -> int:
    try:
        free = torch.cuda.mem_get_info(gpu)[0]
    except RuntimeError as error:  # it is full, another process has it alone, or it broke
        raise UserError(
            f"cuda:{gpu} does not say how much memory is free: {first_lines(error)}; choose "
            "another device="
        ) from None
    return free + torch.cuda.memory_reserved(gpu) - torch.cuda.memory_allocated(gpu)
