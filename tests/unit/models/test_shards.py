import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from merit_opt.errors import UserError
from merit_opt.models.shards import differing, size_written, write_shards
from merit_opt.models.stored import read_shard, read_shards, safetensors_header
from tests.unit.models.small import nothing

MIB = 2**20
NAMES = [f"layers.{i}" for i in range(6)]
CHILD = """
import resource, sys
from pathlib import Path
import torch
from merit_opt.models.shards import write_shards
from merit_opt.models.stored import read_shards

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def ones():
    return torch.ones(1024, 1024, dtype=dtype)

folder, out, dtype = Path(sys.argv[1]), Path(sys.argv[2]), getattr(torch, sys.argv[3])
torch.ones(1024, 1024).to(dtype)
shards = read_shards(folder)
before = peak()
write_shards(shards, {"t7": ones, "t50": ones}, dtype, out, lambda *_: None)
print(peak() - before)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two files: tensors of a dtype each, integers and one without entries among them."""
    root = tmp_path_factory.mktemp("shards")
    generator = torch.Generator().manual_seed(0)
    tensors = {n: torch.randn(5, 7, generator=generator).bfloat16() for n in NAMES}
    extra = {"ids": torch.arange(9), "flags": torch.tensor([True, False])}
    halves = [dict(list(tensors.items())[:3]) | extra, dict(list(tensors.items())[3:])]
    lines = []
    for index, half in enumerate(halves, start=1):
        name = f"model-0000{index}-of-00002.safetensors"
        save_file(half, root / name, metadata={"format": "pt", "note": "mine"})
        lines += [f'"{key}": "{name}"' for key in half]
    index = '{"weight_map": {' + ", ".join(lines) + "}}"
    (root / "model.safetensors.index.json").write_text(index)
    return root


def all_tensors(folder):
    files = sorted(folder.glob("*.safetensors"))
    return {n: t for file in files for n, t in load_file(file).items()}


@given(changed=st.sets(st.sampled_from(NAMES)), dtype=st.sampled_from(["bfloat16", "float32"]))
def test_what_changes_is_changed_and_the_rest_is_as_it_was(
    folder, tmp_path_factory, changed, dtype
):
    out, kind = tmp_path_factory.mktemp("out"), getattr(torch, dtype)
    values = {n: torch.full((5, 7), float(i), dtype=kind) for i, n in enumerate(sorted(changed))}
    changes = {name: lambda value=value: value for name, value in values.items()}
    shards = read_shards(folder)
    write_shards(shards, changes, kind, out, nothing)
    before, after = all_tensors(folder), all_tensors(out)
    assert list(after) == list(before)
    for name, tensor in before.items():
        cast = tensor.to(kind) if tensor.is_floating_point() else tensor
        expected = values.get(name, cast)
        assert after[name].dtype == expected.dtype
        assert torch.equal(after[name], expected)
    for shard, written in zip(shards, read_shards_of(out, shards), strict=True):
        is_same = kind == torch.bfloat16 and not changed & {t.name for t in shard.tensors}
        assert written.file.samefile(shard.file) == is_same
        assert written.metadata == {"format": "pt", "note": "mine"}
    assert size_written(shards, kind) == sum(t.nbytes for t in after.values())
    assert differing(shards, changes, kind, out) == []


def read_shards_of(out, shards):
    return [read_shard(out / shard.file.name) for shard in shards]


@pytest.mark.parametrize(
    "wrong", [torch.ones(7, 5).bfloat16(), torch.ones(5, 7), torch.ones(35).bfloat16()]
)
def test_a_change_of_another_shape_or_dtype_is_never_written(folder, tmp_path, wrong):
    with pytest.raises(RuntimeError, match=r"layers\.2: torch\.\S+ \(\d+, ?\d*\) is not its kind"):
        write_shards(
            read_shards(folder), {"layers.2": lambda: wrong}, torch.bfloat16, tmp_path, nothing
        )


def test_values_that_are_no_block_of_memory_are_written_in_order(folder, tmp_path):
    turned = torch.arange(35.0).bfloat16().reshape(7, 5).T
    write_shards(
        read_shards(folder), {"layers.2": lambda: turned}, torch.bfloat16, tmp_path, nothing
    )
    assert torch.equal(all_tensors(tmp_path)["layers.2"], turned)


def test_every_difference_is_named(folder, tmp_path):
    shards = read_shards(folder)
    changes = {name: lambda: torch.ones(5, 7).bfloat16() for name in NAMES}
    write_shards(shards, changes, torch.bfloat16, tmp_path, nothing)
    file = tmp_path / shards[0].file.name
    weights = load_file(file)
    weights["layers.1"][0, 0] = 2.0
    del weights["ids"]
    save_file(weights | {"more": torch.ones(1)}, file)
    assert sorted(differing(shards, changes, torch.bfloat16, tmp_path)) == [
        *("ids", "layers.1", "more")
    ]
    file.unlink()
    with pytest.raises(UserError, match=r"cannot read .*model-00001-of-00002\.safetensors: No"):
        differing(shards, changes, torch.bfloat16, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_memory_holds_a_tensor_and_not_the_model(tmp_path, dtype):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    size = 2 * MIB
    header = safetensors_header({f"t{i}": ("BF16", (1024, 1024), size) for i in range(100)}, {})
    with (tmp_path / "in" / "model.safetensors").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 100 * size)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, tmp_path / "in", tmp_path / "out", dtype],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(child.stdout) < 40 * 1024  # KiB; the model has 200 MiB or 400
    assert (tmp_path / "out" / "model.safetensors").stat().st_size >= 100 * size
