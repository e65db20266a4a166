"""Image files to pixels, upright and in RGB."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, UnidentifiedImageError

from merit_opt.data.media.status import MediaError, MediaStatus, require_content

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # JPEG knows MPO
WHITE = (255, 255, 255, 255)
DEEP = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
PLAIN = frozenset(
    {"1", "CMYK", "HSV", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"}
)
BY_PILLOW = MediaStatus("ok", "Pillow")
ONE_PICTURE = frozenset({"MPO"})  # cameras add previews and brightness to a photograph


@dataclass(frozen=True, eq=False, slots=True)
class Image:
    """A decoded still image.

    Attributes:
        pixels: uint8 [height, width, 3], RGB, upright.
        status: How reading it went.
    """

    pixels: NDArray[np.uint8]
    status: MediaStatus = BY_PILLOW


def read_image(path: Path) -> Image:
    """The picture in the file, turned as its EXIF says, on white where it is transparent.

    Of 16-bit pixels the upper 8 bits are taken.

    Raises:
        MediaError: The file is missing, empty, torn, no image, larger than Pillow reads, holds
            several pictures, or pixels without a plain meaning as colours.
    """
    with _opened(path) as file:
        if (count := _count(file)) > 1:
            raise MediaError(
                path, f"it holds {count} pictures; save the one that is meant, or all as a video"
            )
        if file.mode not in PLAIN | DEEP:
            raise MediaError(
                path, f"its pixels are of mode {file.mode}, no plain colours; save it in 8 bits"
            )
        upright = ImageOps.exif_transpose(file)
        return Image(np.array(_on_white(_in_8_bits(upright) if file.mode in DEEP else upright)))


def picture_count(path: Path) -> int:
    """How many pictures an image file holds.

    Raises:
        MediaError: It cannot be read.
    """
    with _opened(path) as file:
        return _count(file)


@contextmanager
def _opened(path: Path) -> Generator[Pillow.Image]:
    """The file; what goes wrong with it inside the block is a `MediaError`."""
    require_content(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Pillow.DecompressionBombWarning)
            with Pillow.open(path, formats=FORMATS) as file:
                yield file
    except (MediaError, MemoryError):
        raise
    except (Pillow.DecompressionBombWarning, Pillow.DecompressionBombError) as error:
        raise MediaError(path, f"too many pixels ({error}); make it smaller") from error
    except UnidentifiedImageError as error:
        raise MediaError(path, "not a readable image; replace the file") from error
    except Exception as error:  # what a decoder raises on a damaged file is anyone's guess
        raise MediaError(path, f"not a readable image ({error!r}); replace the file") from error


def _count(file: Pillow.Image) -> int:
    return 1 if file.format in ONE_PICTURE else getattr(file, "n_frames", 1)


def _in_8_bits(image: Pillow.Image) -> Pillow.Image:
    """The upper half of 16 bits, as Pillow takes it of 16-bit colours."""
    deep = np.asarray(image)
    if deep.min() < 0 or deep.max() > np.iinfo(np.uint16).max:
        raise ValueError("its pixels go beyond 16 bits")
    light = (deep >> 8).astype(np.uint8)
    if "transparency" in image.info:
        light[deep == image.info["transparency"]] = 255
    return Pillow.fromarray(light)


def _on_white(image: Pillow.Image) -> Pillow.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Pillow.alpha_composite(Pillow.new("RGBA", layer.size, WHITE), layer).convert("RGB")
