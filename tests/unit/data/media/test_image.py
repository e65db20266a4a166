import io
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from merit_opt.data.media.decoded import Video
from merit_opt.data.media.frames import ALL_FRAMES, FramePlan
from merit_opt.data.media.image import SUFFIXES, Image, read_image
from merit_opt.data.media.medium import read_medium
from merit_opt.data.media.status import MediaError
from merit_opt.data.sample import Media

RED, WHITE = (200, 10, 20), (255, 255, 255)


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 12, 3), dtype=np.uint8)


FOUR = FramePlan("uniform", 4, 1.0)


def written(path: Path, image: Pillow.Image, **options) -> Path:
    image.save(path, **options)
    return path


def turned(orientation=6) -> Pillow.Exif:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_pixels_are_those_of_the_file(tmp_path, pixels, suffix):
    found = read_image(written(tmp_path / f"a{suffix}", Pillow.fromarray(pixels))).pixels
    assert np.array_equal(found, pixels)
    assert found.dtype == np.uint8
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda p: p),
        (2, lambda p: p[:, ::-1]),
        (3, lambda p: p[::-1, ::-1]),
        (6, lambda p: np.rot90(p, -1)),
        (8, np.rot90),
    ],
)
def test_a_turned_picture_comes_upright(tmp_path, pixels, orientation, upright):
    path = written(tmp_path / "a.png", Pillow.fromarray(pixels), exif=turned(orientation))
    assert np.array_equal(read_image(path).pixels, upright(pixels))


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


@pytest.fixture
def deep():
    """16 bits whose upper half is `light`: neither dark enough nor light enough to be clipped."""
    return np.random.default_rng(0).integers(0, 65536, (7, 12), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_of_16_bits_the_upper_8_are_seen(tmp_path, deep, suffix):
    path = written(tmp_path / f"a{suffix}", Pillow.fromarray(deep))
    assert np.array_equal(read_image(path).pixels, np.stack([deep >> 8] * 3, axis=-1))


def test_16_bits_in_32_or_the_other_way_round_are_16_bits(tmp_path, deep):
    wide = written(tmp_path / "a.tiff", Pillow.fromarray(deep.astype(np.int32)))
    swapped = written(tmp_path / "b.tiff", Pillow.fromarray(deep.astype(">u2")))
    with Pillow.open(wide) as one, Pillow.open(swapped) as other:
        assert (one.mode, other.mode) == ("I", "I;16B")
    for path in (wide, swapped):
        assert np.array_equal(read_image(path).pixels[..., 0], deep >> 8)


def test_16_bits_come_upright_and_on_white(tmp_path, deep):
    deep[0, 0] = 7
    path = written(tmp_path / "a.png", Pillow.fromarray(deep), exif=turned(), transparency=7)
    expected = (deep >> 8).astype(np.uint8)
    expected[deep == 7] = 255
    assert np.array_equal(read_image(path).pixels[..., 1], np.rot90(expected, -1))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Pillow.new("F", (2, 2), 0.5), "its pixels are of mode F, no plain colours; save it in 8"),
        (Pillow.new("LAB", (2, 2)), "its pixels are of mode LAB, no plain colours"),
        (Pillow.new("I", (2, 2), 70_000), "its pixels go beyond 16 bits"),
        (Pillow.new("I", (2, 2), -1), "its pixels go beyond 16 bits"),
    ],
    ids=["float", "lab", "too large", "negative"],
)
def test_pixels_without_a_plain_meaning_are_a_sentence(tmp_path, image, message):
    with pytest.raises(MediaError, match=message):
        read_image(written(tmp_path / "a.tiff", image))


def read_one(path, plan):
    return read_medium((Media(path, "0"),), plan)


def moving(path: Path) -> Path:
    first, *others = (Pillow.new("RGB", (16, 8), (60 * i, 10, 20)) for i in range(4))
    return written(path, first, save_all=True, append_images=others, duration=100)


def test_a_moving_gif_is_a_video(tmp_path):
    found = read_one(moving(tmp_path / "a.GIF"), ALL_FRAMES)
    assert isinstance(found, Video)
    assert (found.frames.shape, found.sampling.fps) == ((4, 8, 16, 3), 10.0)
    assert np.abs(found.frames[:, 0, 0, 0].astype(int) - [0, 60, 120, 180]).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".webp"])
def test_another_file_of_several_pictures_is_a_sentence(tmp_path, suffix):
    with pytest.raises(MediaError, match=r"it holds 4 pictures; save the one .* as a video$"):
        read_one(moving(tmp_path / f"a{suffix}"), FOUR)


def test_a_photograph_with_a_preview_is_one_picture(tmp_path):
    photo, preview = Pillow.new("RGB", (8, 8), RED), Pillow.new("RGB", (4, 4))
    path = tmp_path / "a.jpg"
    photo.save(path, format="MPO", save_all=True, append_images=[preview])
    with Pillow.open(path) as file:
        assert file.n_frames == 2
    assert read_image(path).pixels.shape == (8, 8, 3)


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
        ("folder", "a folder, where a file was expected"),
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


@pytest.mark.parametrize("kind", ["BMP", "GIF", "PNG", "TIFF", "WEBP"])
def test_whatever_byte_is_damaged_it_is_an_image_or_a_sentence(tmp_path, pixels, kind):
    file = io.BytesIO()
    Pillow.fromarray(pixels[:2, :2]).save(file, kind, exif=turned())
    whole, path, refused = file.getvalue(), tmp_path / "a.png", 0
    for place, value in product(range(len(whole)), (0, 5, 12, 255)):
        path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about the damage
            try:
                assert isinstance(read_image(path), Image)
            except MediaError:
                refused += 1
    assert refused > 20


def test_what_another_program_would_draw_is_no_image(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.check_call", pytest.fail)
    path = tmp_path / "a.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with Pillow.open(path) as file:
        assert file.format == "EPS"
    with pytest.raises(MediaError, match="not a readable image; replace the file"):
        read_image(path)


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
    found = read_one(path, FOUR)
    assert isinstance(found, Image)
    assert found.pixels.shape == (2, 3, 3)


def test_any_other_medium_is_a_video(tmp_path, small_suite):
    found = read_one(small_suite.samples[0].media[0].path, FOUR)
    assert isinstance(found, Video)
    assert len(found.frames) == 4
    with pytest.raises(MediaError, match="not a readable video"):
        read_one(broken(tmp_path, "html").rename(tmp_path / "a.mp4"), FOUR)
