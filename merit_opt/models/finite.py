"""Whether stored weights are numbers at all; read from disk, one tensor at a time."""

from collections.abc import Callable, Sequence

import torch

from merit_opt.errors import UserError
from merit_opt.models.stored import FLOATS, StoredTensor


def require_finite(tensors: Sequence[StoredTensor], progress: Callable[[int, int], None]) -> None:
    """Plain floating-point tensors hold no NaN and no infinity; others hold none to look for.

    Args:
        tensors: What to read.
        progress: Called with tensors read and tensors in all.

    Raises:
        UserError: Some do, and are named; or one cannot be read.
    """
    floats = [tensor for tensor in tensors if tensor.dtype in FLOATS]
    broken: list[StoredTensor] = []
    for done, tensor in enumerate(floats, start=1):
        if not torch.isfinite(tensor.read()).all():
            broken.append(tensor)
        progress(done, len(floats))
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        files = ", ".join(sorted({str(tensor.file) for tensor in broken[:3]}))
        raise UserError(
            f"{', '.join(tensor.name for tensor in broken[:3])}{more} in {files}: NaN or "
            "infinities; copy the checkpoint again, or give a sound one"
        )
