"""Which device a model runs on, or that it is spread over all GPUs."""

import torch
from transformers.utils.import_utils import ACCELERATE_MIN_VERSION, is_accelerate_available

from merit_opt.errors import UserError

BALANCED = "balanced"
EXPECTED = f"device is auto, cpu, cuda:N or {BALANCED}"


def resolve_device(name: str) -> str:
    """`auto` as a CUDA device where there is one, else `cpu`; any other name checked.

    Returns:
        A device as torch names it, or `balanced`: over all GPUs that are visible.

    Raises:
        UserError: The name is no device, names one this machine does not have, or wants a package
            that is not installed.
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == BALANCED:
        _require_spreadable()
        return name
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"{EXPECTED}; got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"{EXPECTED}; got {name!r}")
    return name


def device_type(device: str) -> str:
    """`cpu` or `cuda`, of what `resolve_device` returns."""
    return "cuda" if device == BALANCED else device.partition(":")[0]


def _require_spreadable() -> None:
    if (count := torch.cuda.device_count()) < 2:
        raise UserError(
            f"device={BALANCED} spreads a model over two GPUs or more, and {count} can be seen; "
            "give device=auto, or let more be seen (CUDA_VISIBLE_DEVICES)"
        )
    if not is_accelerate_available():
        raise UserError(
            f"device={BALANCED} needs the package accelerate, {ACCELERATE_MIN_VERSION} or newer; "
            "install it with pip install 'merit-opt[multi-gpu]'"
        )
