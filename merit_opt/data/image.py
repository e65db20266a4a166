"""Image files to pixels, upright and in RGB."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from merit_opt.data.video import MediaError, require_content

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
WHITE = (255, 255, 255, 255)


@dataclass(frozen=True, eq=False, slots=True)
class Image:
    """A decoded still image.

    Attributes:
        pixels: uint8 [height, width, 3], RGB, upright.
    """

    pixels: NDArray[np.uint8]


def read_image(path: Path) -> Image:
    """The first picture in the file, turned as its EXIF says, on white where it is transparent.

    Raises:
        MediaError: The file is missing, empty, torn, no image, or larger than Pillow reads.
    """
    require_content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(path) as file:
                return Image(np.array(_on_white(ImageOps.exif_transpose(file))))
    except (Pillow.DecompressionBombWarning, Pillow.DecompressionBombError) as error:
        raise MediaError(path, f"too many pixels ({error}); make it smaller") from error
    except UnidentifiedImageError as error:
        raise MediaError(path, "not a readable image; replace the file") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise MediaError(path, f"not a readable image ({error}); replace the file") from error


def _on_white(image: Pillow.Image) -> Pillow.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Pillow.alpha_composite(Pillow.new("RGBA", layer.size, WHITE), layer).convert("RGB")
