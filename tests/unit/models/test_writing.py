"""Whatever happens while an export is written, its folder is whole or is not there."""

import errno
import json
import os
import resource
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

from merit_opt.errors import UserError
from merit_opt.models import export, shards
from merit_opt.models.export import export_delta
from merit_opt.models.merge import merge_of_recipe
from merit_opt.recipe.constructors import attention
from tests.unit.models.small import RECIPE, exported, files, nothing, small_pair


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return small_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def kept(source, tmp_path_factory):
    return exported(source, RECIPE, tmp_path_factory.mktemp("export") / "merged")


@pytest.fixture
def whole(kept, tmp_path):
    """A copy of an export, to break."""
    return shutil.copytree(kept, tmp_path / "merged")


def state(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.iterdir())}


def delta(source, recipe, out):
    export_delta(merge_of_recipe(source, recipe), out, (), nothing)
    return out


@pytest.mark.parametrize("write", [exported, delta])
def test_the_same_again_touches_nothing(source, tmp_path, write):
    out = write(source, RECIPE, tmp_path / "out")
    before = state(out)
    write(source, RECIPE, out)
    assert state(out) == before
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("write", [exported, delta])
def test_another_recipe_pair_dtype_or_form_never_overwrites_it(source, kept, tmp_path, write):
    out = shutil.copytree(kept, tmp_path / "out") if write is delta else kept
    before = state(out)
    others = [
        (source, attention(9, {3: 1.0})),
        (replace(source, dtype="float32"), RECIPE),
        (replace(source, backbone=source.base), RECIPE),
    ]
    for pair, recipe in [*others, *([(source, RECIPE)] if write is delta else [])]:
        with pytest.raises(UserError, match="is not empty and holds something else; choose anot"):
            write(pair, recipe, out)
    assert state(out) == before


@pytest.mark.parametrize(
    ("name", "content"),
    [("thesis.txt", "years of work"), ("merit_opt.json", "{"), ("merit_opt.json", "[]")],
)
def test_a_folder_with_other_content_is_left_alone(source, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    before = state(tmp_path)
    with pytest.raises(UserError, match="is not empty and holds something else; choose another"):
        exported(source, RECIPE, tmp_path)
    assert state(tmp_path) == before


def test_a_file_in_its_place_is_left_alone(source, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match=r"out is a file; choose another out="):
        exported(source, RECIPE, tmp_path / "out")
    with pytest.raises(UserError, match=r"cannot write .*/out/below: "):
        exported(source, RECIPE, tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("is_linked", [False, True])
def test_an_empty_folder_is_filled(source, kept, tmp_path, is_linked):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "empty"
    if is_linked:
        out = tmp_path / "link"
        out.symlink_to(tmp_path / "empty")
    exported(source, RECIPE, out)
    assert files(tmp_path / "empty") == files(kept)


def test_the_working_directory_is_filled_when_it_is_empty(source, kept, tmp_path, monkeypatch):
    from pathlib import Path

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    exported(source, RECIPE, Path())
    assert files(tmp_path / "here") == files(kept)


def change_value(folder):
    file = next(f for f in sorted(folder.glob("*.safetensors")) if f.stat().st_size > 1000)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def change_dtype(folder):
    for file in folder.glob("*.safetensors"):
        file.write_bytes(file.read_bytes().replace(b'"BF16"', b'"F16" '))


def change_shape(folder):
    for file in folder.glob("*.safetensors"):
        file.write_bytes(file.read_bytes().replace(b'"shape":[96,256]', b'"shape":[256,96]'))


def cut(folder):
    file = sorted(folder.glob("*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-10])


def add_tensor(folder):
    file = sorted(folder.glob("*.safetensors"))[0]
    weights = load_file(file)
    save_file(weights | {"more": next(iter(weights.values())).clone()}, file)


@pytest.mark.parametrize(
    "damage",
    [
        change_value,
        change_dtype,
        change_shape,
        cut,
        add_tensor,
        lambda folder: sorted(folder.glob("*.safetensors"))[-1].unlink(),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("{}"),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "recipe.json").unlink(),
        lambda folder: (folder / "model.safetensors.index.json").unlink(),
    ],
    ids=[
        *("value", "dtype", "shape", "cut", "more", "lost shard", "lost config", "config"),
        *("tokenizer", "recipe", "index"),
    ],
)
def test_an_earlier_export_that_is_damaged_is_told_and_left(source, whole, damage):
    damage(whole)
    before = state(whole)
    with pytest.raises(UserError, match=r"merged holds this export, but damaged; remove it or"):
        exported(source, RECIPE, whole)
    assert state(whole) == before


def test_an_earlier_delta_that_is_damaged_is_told(source, tmp_path):
    out = delta(source, RECIPE, tmp_path / "out")
    change_value(out)
    with pytest.raises(UserError, match=r"damaged; .* \(model\..*layers\."):
        delta(source, RECIPE, out)


ONCE = [
    *((export, name) for name in ("_write", "write_shards")),
    (os, "replace"),
]
OFTEN = [
    *((shards, f"_{name}") for name in ("link", "write_shard", "contents", "copy_range")),
    (shards, "read_shard"),
    (os, "fsync"),
]
MOMENTS = [
    pytest.param(module, name, calls, id=f"{name} {calls}")
    for module, name in (*ONCE, *OFTEN)
    for calls in ((1,) if (module, name) in ONCE else (1, 2))
]


def raising(original, error, calls):
    """The function that raises at its last of so many calls."""
    left = [calls]

    def wrapped(*args, **options):
        left[0] -= 1
        if left[0] <= 0:
            raise error
        return original(*args, **options)

    return wrapped


@pytest.mark.parametrize(("module", "name", "calls"), MOMENTS)
@pytest.mark.parametrize("kind", ["Ctrl-C", "full"])
def test_a_stop_or_a_full_disk_leaves_nothing(
    source, tmp_path, monkeypatch, kind, module, name, calls
):
    error = KeyboardInterrupt() if kind == "Ctrl-C" else OSError(errno.ENOSPC, "No space left")
    expected = KeyboardInterrupt if kind == "Ctrl-C" else UserError
    with monkeypatch.context() as patched:
        patched.setattr(module, name, raising(getattr(module, name), error, calls))
        with pytest.raises(expected) as caught:
            exported(source, RECIPE, tmp_path / "deep" / "out")
    if kind == "full":
        assert str(caught.value) == f"cannot write {tmp_path / 'deep' / 'out'}: No space left"
    assert files(tmp_path) == {}
    assert os.listdir(tmp_path) in ([], ["deep"])
    exported(source, RECIPE, tmp_path / "deep" / "out")


@pytest.fixture
def no_room_for_weights():
    """Every file of this process may have 200 KB: some shards do not fit, the configs do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("write", [exported, delta])
def test_weights_that_do_not_fit_leave_nothing(source, tmp_path, no_room_for_weights, write):
    with pytest.raises(UserError, match=r"cannot write .*/out: .*too large"):
        write(source, RECIPE, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_too_little_room_is_told_before_a_tensor_is_merged(source, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(shards, "_contents", lambda *_: pytest.fail("something was merged"))
    with pytest.raises(UserError, match=r"weights to write take .* free some space, or choose"):
        exported(source, RECIPE, tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_what_the_disk_gives_back_otherwise_is_not_left(source, tmp_path, monkeypatch):
    read = shards.read_shard

    def spoiled(file):
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
        return read(file)

    monkeypatch.setattr(shards, "read_shard", spoiled)
    with pytest.raises(UserError, match=r"was not written as computed"):
        delta(source, RECIPE, tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_parent_is_told(source, tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(UserError, match=r"cannot write .*/out: Permission denied"):
            exported(source, RECIPE, tmp_path / "out")
    finally:
        tmp_path.chmod(0o755)


def test_a_parent_on_which_nobody_writes_is_told(source):
    from pathlib import Path

    with pytest.raises(UserError, match=r"cannot write /proc/merit/out: "):
        exported(source, RECIPE, Path("/proc/merit/out"))


def test_its_facts_are_plain_json(kept):
    facts = json.loads((kept / "merit_opt.json").read_text())
    assert list(facts) == ["schema", "format", "recipe", "made_of", "measured"]
