"""Several devices on a machine that has none: tensors that claim one, and compute on the CPU.

As on GPUs, what meets in an operation must lie on one device; only copies lead from one to another.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

KIND = "lazy"  # torch knows the name, and has nothing behind it
CPU = torch.device("cpu")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
INDEXED = (
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
)


class Claiming(Tensor):
    """Lies on `device`, it says."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor, device: torch.device) -> Self:
        made: Any = Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=device,
        )
        made.values = values
        return made

    def tolist(self) -> Any:
        return self.values.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


class Dispatched(TorchDispatchMode):
    """What is made on such a device, or brought to one, claims it."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


class Read(TorchFunctionMode):
    """`torch.tensor` reads numbers out of tensors below dispatch: so they are read before."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not torch.tensor:
            return func(*args, **(kwargs or {}))
        return func(*tree_map_only(Claiming, Claiming.tolist, args), **(kwargs or {}))


@contextmanager
def pretending() -> Generator[None]:
    """Inside, there are such devices."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # lists of numbers become tensors of the CPU first
    try:
        with Dispatched(), Read():
            yield
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def computed(func, args, kwargs):
    where = place(func, args, kwargs)
    plain = tree_map_only(Claiming, lambda one: one.values, (args, kwargs))
    own, options = plain
    if options.get("device") is not None:
        options = options | {"device": CPU}
    found = func(*own, **options)
    if where.type != KIND:
        return found
    made = tree_map_only(Tensor, lambda one: Claiming(one, where), found)
    return return_and_correct_aliasing(func, args, kwargs, made)


def place(func, args, kwargs) -> torch.device:
    """Of what comes out.

    Raises:
        RuntimeError: What goes in lies on several devices.
    """
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    met = dict.fromkeys(one.device for one in tensors if one.ndim or one.device != CPU)
    if func in INDEXED:  # by indices that may lie on the host
        met = dict.fromkeys([args[0].device, *(one for one in met if one != CPU)])
    if len(met) > 1 and func not in COPIES:
        raise RuntimeError(f"{func} meets tensors on {', '.join(map(str, met))}")
    if (asked := kwargs.get("device")) is not None:
        return torch.device(asked)
    return next(iter(met), CPU)


def scatter(model: nn.Module, places: dict[str, int]) -> None:
    """Claim that every tensor of a model lies where `places` says of the module that holds it.

    Accelerate's hooks, where there are any, then move inputs there.
    """
    memo: dict[int, Tensor] = {}
    for name, module in model.named_modules():
        if hasattr(module, "_hf_hook"):
            module._hf_hook.execution_device = device_of(name, places)
        for tensors in (module._parameters, module._buffers):
            for own, tensor in tensors.items():
                if tensor is not None and id(tensor) not in memo:
                    there = Claiming(tensor.detach(), device_of(f"{name}.{own}", places))
                    is_weight = tensors is module._parameters
                    memo[id(tensor)] = nn.Parameter(there, False) if is_weight else there
                if tensor is not None:
                    tensors[own] = memo[id(tensor)]


def device_of(name: str, places: dict[str, int]) -> torch.device:
    while name and name not in places:
        name = name.rpartition(".")[0]
    return torch.device(KIND, places.get(name, 0))
