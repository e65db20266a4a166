"""RoPE frequencies: a buffer that no checkpoint holds and every cast of a model damages."""

from torch import float32, nn


def require_float32_rope(model: nn.Module) -> None:
    """RoPE frequencies must be float32: a model cast as a whole is silently wrong.

    Raises:
        RuntimeError: A buffer named inv_freq has another dtype.
    """
    for name, buffer in model.named_buffers():
        if name.endswith("inv_freq") and buffer.dtype != float32:
            raise RuntimeError(f"{name} is {buffer.dtype}, expected float32: load, never cast")
