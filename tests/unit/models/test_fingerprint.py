import os
import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from merit_opt.models.fingerprint import folder_digest
from merit_opt.models.source import folder_pair
from merit_opt.models.tiny import tiny_folder

VLM = tiny_folder("vlm_planted_3_5")
FILES = sorted(path.name for path in VLM.iterdir())


@pytest.fixture
def checkpoint(tmp_path):
    return shutil.copytree(VLM, tmp_path / "checkpoint")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Weights small enough that the samples cover every byte."""
    folder = tmp_path_factory.mktemp("small")
    save_file({"a": torch.zeros(150_000), "b": torch.zeros(7)}, folder / "model.safetensors")
    return folder, folder_digest(folder)


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def test_path_and_time_are_no_part_of_it(checkpoint):
    for name in FILES:
        os.utime(checkpoint / name, (1, 1))
    assert folder_digest(checkpoint) == folder_digest(VLM)


@pytest.mark.parametrize("name", FILES)
def test_one_byte_of_any_file_changes_it(checkpoint, name):
    flip(checkpoint / name, 100 if name.endswith("safetensors") else -1)
    assert folder_digest(checkpoint) != folder_digest(VLM)


@pytest.mark.parametrize("position", [0, 8, 5000, 20_000, -1])
def test_a_byte_of_the_header_or_of_a_sample_of_the_weights_changes_it(checkpoint, position):
    flip(checkpoint / "model.safetensors", position)
    assert folder_digest(checkpoint) != folder_digest(VLM)


@given(position=st.integers(0, 600_000))
def test_any_byte_of_small_weights_changes_it(small, position):
    folder, digest = small
    flip(folder / "model.safetensors", position)
    try:
        assert folder_digest(folder) != digest
    finally:
        flip(folder / "model.safetensors", position)


def test_the_size_of_the_weights_changes_it_though_every_sample_is_the_same(small, tmp_path):
    longer = shutil.copytree(small[0], tmp_path / "longer") / "model.safetensors"
    longer.write_bytes(longer.read_bytes() + b"\0")
    assert folder_digest(longer.parent) != small[1]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_renamed_file_changes_it(checkpoint, name):
    (checkpoint / name).rename(checkpoint / f"x{name}")
    assert folder_digest(checkpoint) != folder_digest(VLM)
    (checkpoint / f"x{name}").unlink()
    assert folder_digest(checkpoint) != folder_digest(VLM)


def test_a_note_beside_the_weights_is_no_part_of_it(checkpoint):
    (checkpoint / "README.md").write_text("hello")
    (checkpoint / "consolidated.safetensors").write_bytes(b"another layout, never loaded")
    assert folder_digest(checkpoint) == folder_digest(VLM)


def test_a_pair_is_both_folders_in_their_roles_and_the_dtype(tmp_path):
    pair = folder_pair(VLM, tiny_folder("text"), "float32")
    copies = [
        shutil.copytree(folder, tmp_path / name)
        for name, folder in (("vlm", pair.vlm), ("text", pair.backbone))
    ]
    assert folder_pair(*copies, "float32").digest == pair.digest
    flip(copies[1] / "model.safetensors", -1)
    others = [
        folder_pair(*copies, "float32"),
        replace(pair, dtype="bfloat16"),
        replace(pair, dtype=None),
        replace(pair, vlm=tiny_folder("vlm_planted_3_6")),
        replace(pair, vlm=pair.backbone, backbone=pair.vlm),
    ]
    assert len({pair.digest, *(other.digest for other in others)}) == 6
