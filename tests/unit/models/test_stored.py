import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save, save_file

from merit_opt.errors import UserError
from merit_opt.models.stored import FLOATS, read_shard, read_shards, safetensors_header

INDEX = "model.safetensors.index.json"
CODES = [*FLOATS, "I64", "U8", "BOOL", "F8_E4M3"]
DTYPES = FLOATS | {
    "I64": torch.int64,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
}
SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)
TENSORS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(CODES), SHAPES),
    min_size=1,
    max_size=5,
)


def made(described):
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randint(0, 2, shape, generator=generator).to(DTYPES[code])
        for name, (code, shape) in described.items()
    }


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("stored") / "model.safetensors"


def write(file, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


@given(described=TENSORS)
def test_every_tensor_is_read_as_safetensors_wrote_it(file, described):
    tensors = made(described)
    save_file(tensors, file, metadata={"format": "pt"})
    shard = read_shard(file)
    assert shard.metadata == {"format": "pt"}
    assert {t.name: (t.dtype, t.shape) for t in shard.tensors} == described
    for stored in shard.tensors:
        assert stored.size == len(raw(tensors[stored.name]))
        assert bytes(stored.read_bytes()) == raw(tensors[stored.name])
        if stored.dtype in FLOATS:
            values = stored.read()
            assert values.dtype == FLOATS[stored.dtype]
            assert torch.equal(values, tensors[stored.name])


@given(described=TENSORS, metadata=st.dictionaries(st.text(), st.text(), max_size=2))
def test_a_header_of_ours_is_read_by_safetensors(file, described, metadata):
    tensors = made(described)
    rows = {n: (c, s, len(raw(tensors[n]))) for n, (c, s) in described.items()}
    header = safetensors_header(rows, metadata)
    assert len(header) % 8 == 0
    file.write_bytes(header + b"".join(raw(tensors[name]) for name in rows))
    loaded = load_file(file)
    assert {n: raw(t) for n, t in loaded.items()} == {n: raw(t) for n, t in tensors.items()}
    assert dict(read_shard(file).metadata) == metadata


@given(content=st.binary(max_size=60))
def test_garbage_is_a_sentence(file, content):
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"model\.safetensors (is torn|has \d+ bytes)"):
        read_shard(file)


@given(data=st.data())
def test_a_file_cut_anywhere_is_a_sentence(file, data):
    content = save({"a": torch.arange(6.0), "b": torch.ones(2, 3, dtype=torch.bfloat16)})
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(UserError, match=r"copy the checkpoint again$"):
        read_shard(file)


ROW = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b"\xff\xfe",
        b"[" * 100_000,
        {"a": None},
        {"a": []},
        {"a": {}},
        {"a": ROW | {"data_offsets": [0]}},
        {"a": ROW | {"data_offsets": [0, 8, 8]}},
        {"a": ROW | {"data_offsets": [0, None]}},
        {"a": ROW | {"data_offsets": [8, 0]}},
        {"a": ROW | {"data_offsets": [-8, 0]}},
        {"a": ROW | {"data_offsets": [4, 12]}},
        {"a": ROW | {"data_offsets": [0, float("inf")]}},
        {"a": ROW | {"data_offsets": [0, float("nan")]}},
        {"a": ROW | {"shape": [3]}},
        {"a": ROW | {"shape": None}},
        {"a": ROW | {"shape": [-1, -2]}},
        {"a": ROW, "b": ROW},
        {"a": ROW, "__metadata__": 3},
        {"a": ROW, "__metadata__": ["format"]},
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_header_that_describes_something_else_is_a_sentence(file, header):
    write(file, header, bytes(8))
    with pytest.raises(UserError, match=r"copy the checkpoint again$"):
        read_shard(file)


@pytest.mark.parametrize("length", [9, 1000, 2**40, 2**63, 2**64 - 1])
def test_a_header_longer_than_its_file_is_a_sentence(file, length):
    write(file, b"{}", length=length)
    with pytest.raises(UserError, match=r"is torn, or no safetensors file; copy the checkpoint"):
        read_shard(file)


def test_a_header_too_long_for_safetensors_is_not_read(file, monkeypatch):
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", 200_000_000))
        opened.truncate(300_000_000)
    monkeypatch.setattr(json, "loads", lambda text: text and pytest.fail("it was read"))
    with pytest.raises(UserError, match=r"is torn, or no safetensors file"):
        read_shard(file)
    file.unlink()


def test_no_metadata_is_none(file):
    write(file, {"a": ROW, "__metadata__": None}, bytes(8))
    assert read_shard(file).metadata == {}


def test_a_file_that_becomes_shorter_is_a_sentence(file):
    save_file({"a": torch.arange(6.0)}, file)
    (stored,) = read_shard(file).tensors
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model\.safetensors has become shorter; copy"):
        stored.read()
    file.unlink()
    with pytest.raises(UserError, match=r"cannot read .*model\.safetensors: No such file"):
        stored.read()


def test_codes_are_refused_by_their_dtype(file):
    save_file({"layers.0.up": torch.ones(4).to(torch.float8_e4m3fn)}, file)
    (stored,) = read_shard(file).tensors
    message = r"layers\.0\.up in .* is stored as F8_E4M3; weights to merge are one of F64, F32, "
    with pytest.raises(UserError, match=message):
        stored.read()


@pytest.fixture
def sharded(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.ones(3)}, tmp_path / "model-00002-of-00002.safetensors")
    names = {n: f"model-0000{i}-of-00002.safetensors" for i, n in enumerate("ab", start=1)}
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return tmp_path


def test_an_index_leads_to_all_files(sharded):
    shards = read_shards(sharded)
    assert [t.name for shard in shards for t in shard.tensors] == ["a", "b"]


def test_a_missing_file_of_the_index_is_named(sharded):
    (sharded / "model-00002-of-00002.safetensors").unlink()
    message = rf"{INDEX} names model-00002-of-00002\.safetensors, not there; copy the checkpoint"
    with pytest.raises(UserError, match=message):
        read_shards(sharded)


def test_a_tensor_that_is_not_where_the_index_says_is_named(sharded):
    save_file({"c": torch.ones(2)}, sharded / "model-00002-of-00002.safetensors")
    message = rf"{INDEX} says that b is in model-00002-of-00002\.safetensors, but it is not; copy"
    with pytest.raises(UserError, match=message):
        read_shards(sharded)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b'{"weight_map": null}', b'{"weight_map": ["a"]}'),
        *(b"\xff", b'{"weight_map": {}}', b"[" * 100_000),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_index_that_is_none_is_a_sentence(sharded, content):
    (sharded / INDEX).write_bytes(content)
    with pytest.raises(UserError, match=r"(cannot be read as an index of weights|lacks model)"):
        read_shards(sharded)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "", "."])
def test_an_index_leads_nowhere_else(sharded, name):
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match=INDEX):
        read_shards(sharded)


def test_a_single_file_goes_before_an_index(sharded):
    save_file({"whole": torch.ones(2)}, sharded / "model.safetensors")
    (sharded / INDEX).write_text("stale")
    (shard,) = read_shards(sharded)
    assert [t.name for t in shard.tensors] == ["whole"]


def test_weights_without_a_tensor_are_a_sentence(tmp_path):
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="hold no tensor; copy the checkpoint again"):
        read_shards(tmp_path)
