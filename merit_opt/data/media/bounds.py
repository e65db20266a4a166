"""What is too large, or too small, to be decoded at all."""

from merit_opt.units import GIB

FRAME_BYTES = 256 * 1024**2
TOTAL_BYTES = 8 * GIB
FEWEST_PIXELS = 2
CHANNELS = 3


def require_size(height: int, width: int) -> None:
    """A frame's size is one that a picture can have.

    Raises:
        ValueError: It is not.
    """
    if min(height, width) < FEWEST_PIXELS:
        raise ValueError(f"its frames are {width}x{height} pixels, too small to show anything")
    if (size := height * width * CHANNELS) > FRAME_BYTES:
        raise ValueError(
            f"its frames are {width}x{height} pixels, {size / 1024**2:.0f} MiB each and more than "
            f"{FRAME_BYTES // 1024**2}; scale it down"
        )


def require_total(count: int, height: int, width: int) -> None:
    """So many frames of this size can be held at once.

    Raises:
        ValueError: They cannot.
    """
    require_size(height, width)
    if (size := count * height * width * CHANNELS) > TOTAL_BYTES:
        raise ValueError(
            f"{count} frames of {width}x{height} pixels take {size / GIB:.1f} GiB, more than "
            f"{TOTAL_BYTES // GIB}; ask for fewer frames, or scale it down"
        )
