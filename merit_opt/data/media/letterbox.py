"""A picture in a frame of another shape."""

import numpy as np
from PIL import Image as Pillow

from merit_opt.data.media.decoded import Frames


def letterboxed(pixels: Frames, height: int, width: int) -> Frames:
    """The whole picture as large as fits, in the middle, on black.

    Args:
        pixels: uint8 [any height, any width, 3].
        height: Of the result.
        width: Of the result.

    Returns:
        uint8 [height, width, 3]; `pixels` itself where it has that size.
    """
    old_height, old_width = pixels.shape[:2]
    if (old_height, old_width) == (height, width):
        return pixels
    scale = min(height / old_height, width / old_width)
    size = max(1, round(old_width * scale)), max(1, round(old_height * scale))
    picture = np.asarray(Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BICUBIC))
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    frame[top : top + size[1], left : left + size[0]] = picture
    return frame
