import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from merit_opt.data.image import SUFFIXES, Image, read_image
from merit_opt.data.medium import read_medium
from merit_opt.data.video import MediaError, Video

RED, WHITE = (200, 10, 20), (255, 255, 255)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 12, 3), dtype=np.uint8)


def written(path: Path, image: Pillow.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_pixels_are_those_of_the_file(tmp_path, pixels, suffix):
    found = read_image(written(tmp_path / f"a{suffix}", Pillow.fromarray(pixels))).pixels
    assert np.array_equal(found, pixels)
    assert found.dtype == np.uint8
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (6, lambda p: np.rot90(p, -1)),
        (8, np.rot90),
    ],
)
def test_a_turned_picture_comes_upright(tmp_path, pixels, orientation, turned):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path = written(tmp_path / "a.png", Pillow.fromarray(pixels), exif=exif)
    assert np.array_equal(read_image(path).pixels, turned(pixels))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(tmp_path, mode):
    layer = Pillow.new("RGBA", (2, 1), (*RED, 255))
    layer.putpixel((1, 0), (0, 0, 0, 0))
    options = {}
    if mode == "P":
        layer = layer.convert("RGB").quantize(2)
        options = {"transparency": layer.getpixel((1, 0))}
    path = written(tmp_path / "a.png", layer.convert(mode), **options)
    first, second = read_image(path).pixels[0].tolist()
    assert tuple(second) == WHITE
    assert tuple(first) == (RED if mode != "LA" else (first[0],) * 3)


def test_half_of_a_colour_is_half_white(tmp_path):
    path = written(tmp_path / "a.png", Pillow.new("RGBA", (1, 1), (0, 0, 0, 128)))
    assert read_image(path).pixels[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("mode", ["L", "1", "CMYK"])
def test_other_colours_become_three(tmp_path, mode):
    path = written(tmp_path / "a.tiff", Pillow.new(mode, (3, 2)))
    assert read_image(path).pixels.shape == (2, 3, 3)


def broken(folder: Path, how: str) -> Path:
    path = folder / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = written(folder / "whole.png", Pillow.fromarray(noise)).read_bytes()
    contents = {
        "empty": b"",
        "html": b"<html>404</html>",
        "half": whole[: len(whole) // 2],
        "header": whole[:20],
        "zeros": bytes(500),
        "wrong sum": whole[:40] + bytes(4) + whole[44:],
    }
    if how == "folder":
        path.mkdir()
    elif how in contents:
        path.write_bytes(contents[how])
    return path


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no such file"),
        ("folder", "no such file"),
        ("empty", "the file is empty; download it again"),
        ("html", "not a readable image; replace the file"),
        ("half", "not a readable image .*; replace the file"),
        ("header", "not a readable image.*; replace the file"),
        ("zeros", "not a readable image; replace the file"),
        ("wrong sum", "not a readable image.*; replace the file"),
    ],
)
def test_a_file_that_is_no_image_is_a_sentence(tmp_path, how, message):
    path = broken(tmp_path, how)
    with pytest.raises(MediaError, match=message) as caught:
        read_image(path)
    assert caught.value.path == path


@pytest.mark.parametrize("most", [100, 60])
def test_an_image_of_too_many_pixels_is_a_sentence(tmp_path, monkeypatch, most):
    path = written(tmp_path / "a.png", Pillow.new("RGB", (13, 13)))
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", most)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(MediaError, match=r"too many pixels .*; make it smaller"):
            read_image(path)


@pytest.mark.parametrize("name", [*(f"a{s}" for s in sorted(SUFFIXES)), "A.PNG"])
def test_a_medium_is_an_image_where_its_suffix_says_so(tmp_path, name):
    kind = "JPEG" if name.endswith(("jpg", "jpeg")) else None
    path = written(tmp_path / name, Pillow.new("RGB", (3, 2)), format=kind)
    found = read_medium(path, 4)
    assert isinstance(found, Image)
    assert found.pixels.shape == (2, 3, 3)


def test_any_other_medium_is_a_video(tmp_path, small_suite):
    found = read_medium(small_suite.samples[0].media[0].path, 4)
    assert isinstance(found, Video)
    assert len(found.frames) == 4
    with pytest.raises(MediaError, match="not a readable video"):
        read_medium(broken(tmp_path, "html").rename(tmp_path / "a.mp4"), 4)
