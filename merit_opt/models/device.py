"""Which device a model runs on."""

import torch

from merit_opt.errors import UserError


def resolve_device(name: str) -> str:
    """`auto` as a CUDA device where there is one, else `cpu`; any other name checked.

    Raises:
        UserError: The name is no device, or names one this machine does not have.
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"device is auto, cpu or cuda:N; got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device={name}: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device is auto, cpu or cuda:N; got {name!r}")
    return name
