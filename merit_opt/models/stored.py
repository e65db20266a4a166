"""Tensors in safetensors files: found and checked by the files' headers, read one at a time."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from merit_opt.errors import UserError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
FLOATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
CODES = {dtype: code for code, dtype in FLOATS.items()}
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # safetensors reads none that is longer
_AGAIN = "copy the checkpoint again"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where one tensor lies.

    Attributes:
        name: On disk.
        file: The safetensors file.
        dtype: As safetensors writes it, such as `BF16`.
        shape: Its dimensions.
        begin: First byte in the file.
        end: One past its last byte in the file.
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.begin

    def read(self) -> Tensor:
        """Its values in memory of their own, in the stored dtype.

        Raises:
            UserError: It is no floating-point tensor of a plain dtype, or cannot be read.
        """
        require_float(self)
        return torch.frombuffer(self.read_bytes(), dtype=FLOATS[self.dtype]).reshape(self.shape)

    def read_bytes(self) -> bytearray:
        """Its values as they are stored.

        Raises:
            UserError: They cannot be read.
        """
        try:
            with self.file.open("rb") as file:
                file.seek(self.begin)
                data = bytearray(file.read(self.size))
        except OSError as error:
            raise UserError(f"cannot read {self.file}: {error.strerror}") from error
        if len(data) != self.size:
            raise UserError(f"{self.file} has become shorter; {_AGAIN}")
        return data


def require_float(tensor: StoredTensor) -> None:
    """What is merged is stored as plain floating-point numbers.

    Raises:
        UserError: It is not.
    """
    if tensor.dtype not in FLOATS:
        raise UserError(
            f"{tensor.name} in {tensor.file} is stored as {tensor.dtype}; weights to merge are "
            f"one of {', '.join(FLOATS)}: give a checkpoint that is not quantised"
        )


@dataclass(frozen=True, slots=True)
class Shard:
    """One safetensors file.

    Attributes:
        file: Where it lies.
        metadata: What its writer noted.
        tensors: In the order of their bytes, without gaps.
    """

    file: Path
    metadata: Mapping[str, str]
    tensors: tuple[StoredTensor, ...]


def is_complete(folder: Path) -> bool:
    """Whether every weights file that `folder` should hold is there."""
    try:
        return not _absent(folder, _files(folder))
    except UserError:
        return False


def require_present(folder: Path) -> Mapping[str, str]:
    """Tensor -> file, of weights in several files that are all there; empty of a single file.

    Raises:
        UserError: A file is missing, or the index cannot be read.
    """
    index = _files(folder)
    if absent := _absent(folder, index):
        where = f"{folder / INDEX} names" if index else f"{folder} lacks"
        raise UserError(f"{where} {', '.join(absent[:3])}, not there; {_AGAIN}")
    return index


def read_shards(folder: Path) -> tuple[Shard, ...]:
    """Every weights file of a checkpoint folder; reads headers only.

    As in transformers, a single file goes before an index.

    Raises:
        UserError: A file is missing, torn or no safetensors, or the index names what is not there.
    """
    index = require_present(folder)
    shards = tuple(read_shard(folder / name) for name in _names(index))
    if not any(shard.tensors for shard in shards):
        raise UserError(f"the weights in {folder} hold no tensor; {_AGAIN}")
    held = {(tensor.name, shard.file.name) for shard in shards for tensor in shard.tensors}
    if unknown := sorted(index.items() - held):
        tensor, name = unknown[0]
        raise UserError(
            f"{folder / INDEX} says that {tensor} is in {name}, but it is not; {_AGAIN}"
        )
    return shards


def read_shard(file: Path) -> Shard:
    """The header of one safetensors file, checked against the file's length.

    Raises:
        UserError: The file is torn, no safetensors file, or cannot be read.
    """
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(_LENGTH_BYTES), "little")
            start = _LENGTH_BYTES + length
            is_possible = length <= _LONGEST_HEADER and start <= size
            header = opened.read(length) if is_possible else b""
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    try:
        rows: dict[str, Any] = json.loads(header)
        metadata = dict(rows.pop("__metadata__", None) or {})
        tensors = tuple(sorted(_tensors(file, rows, start), key=lambda t: (t.begin, t.end)))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise UserError(f"{file} is torn, or no safetensors file; {_AGAIN}") from None
    ends = [start, *(t.end for t in tensors)]
    begins = [*(t.begin for t in tensors), size]
    if ends != begins:
        raise UserError(f"{file} has {size} bytes, but its header describes {max(ends)}; {_AGAIN}")
    return Shard(file, metadata, tensors)


def safetensors_header(
    tensors: Mapping[str, tuple[str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> bytes:
    """The first bytes of a safetensors file.

    Args:
        tensors: Name -> dtype code, shape and size in bytes, in the order of their bytes.
        metadata: What to note.
    """
    rows: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    ends = [0]
    for name, (dtype, shape, size) in tensors.items():
        ends.append(ends[-1] + size)
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": ends[-2:]}
    text = json.dumps(rows, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _files(folder: Path) -> dict[str, str]:
    """Tensor -> file, of a checkpoint in several; empty of one in a single file."""
    return {} if (folder / SINGLE).is_file() else _read_index(folder)


def _names(index: Mapping[str, str]) -> list[str]:
    return sorted(set(index.values())) or [SINGLE]


def _absent(folder: Path, index: Mapping[str, str]) -> list[str]:
    return [n for n in _names(index) if Path(n).name != n or not (folder / n).is_file()]


def _read_index(folder: Path) -> dict[str, str]:
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        return {str(k): str(v) for k, v in json.loads(path.read_text())["weight_map"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} cannot be read as an index of weights; {_AGAIN}") from None


def _tensors(file: Path, rows: Mapping[str, Any], start: int) -> Iterator[StoredTensor]:
    for name, row in rows.items():
        dtype, shape = str(row["dtype"]), tuple(int(n) for n in row["shape"])
        begin, end = (start + int(n) for n in row["data_offsets"])
        is_whole = dtype not in FLOATS or end - begin == prod(shape) * FLOATS[dtype].itemsize
        if not is_whole or any(n < 0 for n in shape):
            raise ValueError(name)
        yield StoredTensor(name, file, dtype, shape, begin, end)
