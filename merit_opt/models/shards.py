"""A checkpoint's weights written anew: only files that change, one tensor at a time.

What was computed is read back from the disk and compared.
"""

import errno
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import FileIO
from pathlib import Path

import torch
from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.models.stored import (
    CODES,
    FLOATS,
    Shard,
    StoredTensor,
    read_shard,
    safetensors_header,
)
from merit_opt.units import GIB

Changes = Mapping[str, Callable[[], Tensor]]
Progress = Callable[[int, int], None]

_CHUNK = 16 * 1024**2
_CANNOT_LINK = {
    *(errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES, errno.EINVAL),
    *(errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS),
}
_CANNOT_COPY_INSIDE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def write_shards(
    shards: Sequence[Shard],
    changes: Changes,
    dtype: torch.dtype,
    folder: Path,
    progress: Progress,
) -> None:
    """The weights of a checkpoint with `changes`, under the source's file names.

    A file in which nothing changes is a hard link to its source, or a copy where the file system
    cannot link.

    Args:
        shards: The source's files.
        changes: Name on disk -> the new values, of the tensor's shape and of `dtype`.
        dtype: Of every floating-point tensor written.
        folder: Where to write; holds none of the names yet.
        progress: Called with bytes done and bytes in all, of the files that are rewritten.

    Raises:
        UserError: There is not room enough.
        OSError: The folder cannot be written.
    """
    sizes = {
        shard.file: size_written([shard], dtype)
        for shard in shards
        if _differs(shard, changes, dtype)
    }
    copied = [s.file for s in shards if s.file not in sizes and not _same_disk(s.file, folder)]
    _require_room(folder, sum(sizes.values()) + sum(file.stat().st_size for file in copied))
    done = 0
    for shard in shards:
        target = folder / shard.file.name
        if shard.file not in sizes:
            _link(shard.file, target)
            continue
        _write_shard(shard, changes, dtype, target)
        done += sizes[shard.file]
        progress(done, sum(sizes.values()))


def size_written(shards: Iterable[Shard], dtype: torch.dtype) -> int:
    """Bytes of all tensors once the floating-point ones are of `dtype`."""
    return sum(_size(tensor, dtype) for shard in shards for tensor in shard.tensors)


def differing(
    shards: Sequence[Shard], changes: Changes, dtype: torch.dtype, folder: Path
) -> list[str]:
    """Names of the tensors in `folder` that are not what `write_shards` would write.

    Raises:
        UserError: A file is torn or missing.
    """
    found: list[str] = []
    for shard in shards:
        written = folder / shard.file.name
        if not _differs(shard, changes, dtype) and _is_link(written, shard.file):
            continue
        held = {tensor.name: tensor for tensor in read_shard(written).tensors}
        found += [
            tensor.name
            for tensor in shard.tensors
            if tensor.name not in held
            or (held[tensor.name].dtype, held[tensor.name].shape)
            != (_code(tensor, dtype), tensor.shape)
            or memoryview(held[tensor.name].read_bytes()) != _contents(tensor, changes, dtype)
        ]
        found += sorted(held.keys() - {tensor.name for tensor in shard.tensors})
    return found


def _write_shard(shard: Shard, changes: Changes, dtype: torch.dtype, target: Path) -> None:
    rows = {t.name: (_code(t, dtype), t.shape, _size(t, dtype)) for t in shard.tensors}
    checksums: dict[str, int] = {}
    with FileIO(target, "w") as out:
        _write(out, safetensors_header(rows, {"format": "pt", **shard.metadata}))
        for tensor in shard.tensors:
            if tensor.name in changes or _is_cast(tensor, dtype):
                data = _contents(tensor, changes, dtype)
                _write(out, data)
                checksums[tensor.name] = zlib.crc32(data)
            else:
                _copy_range(tensor, out)
        os.fsync(out.fileno())
    for tensor in read_shard(target).tensors:
        expected = checksums.get(tensor.name)
        if expected is not None and zlib.crc32(tensor.read_bytes()) != expected:
            raise OSError(errno.EIO, f"{tensor.name} was not written as computed", str(target))


def _contents(tensor: StoredTensor, changes: Changes, dtype: torch.dtype) -> memoryview:
    """The bytes that a tensor is to have."""
    if tensor.name in changes:
        values = changes[tensor.name]()
    elif _is_cast(tensor, dtype):
        values = tensor.read().to(dtype)
        if not torch.isfinite(values).all():
            raise UserError(
                f"{tensor.name} does not fit into {dtype}, or holds NaN; choose another pair.dtype"
            )
    else:
        return memoryview(tensor.read_bytes())
    if (values.dtype, tuple(values.shape)) != (dtype, tensor.shape):
        raise RuntimeError(f"{tensor.name}: {values.dtype} {tuple(values.shape)} is not its kind")
    return values.contiguous().flatten().view(torch.uint8).numpy().data


def _differs(shard: Shard, changes: Changes, dtype: torch.dtype) -> bool:
    """Whether a file is written anew; one without tensors, a delta's, has no source to link."""
    return not shard.tensors or any(t.name in changes or _is_cast(t, dtype) for t in shard.tensors)


def _is_cast(tensor: StoredTensor, dtype: torch.dtype) -> bool:
    return tensor.dtype in FLOATS and FLOATS[tensor.dtype] != dtype


def _code(tensor: StoredTensor, dtype: torch.dtype) -> str:
    return CODES[dtype] if tensor.dtype in FLOATS else tensor.dtype


def _size(tensor: StoredTensor, dtype: torch.dtype) -> int:
    if not _is_cast(tensor, dtype):
        return tensor.size
    return tensor.size // FLOATS[tensor.dtype].itemsize * dtype.itemsize


def _write(out: FileIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]


def _copy_range(tensor: StoredTensor, out: FileIO) -> None:
    """Inside the kernel where it can, else through a buffer."""
    begin = tensor.begin
    with FileIO(tensor.file, "r") as source:
        while begin < tensor.end:
            copied = _copy_inside(source, out, begin, tensor.end)
            if copied is None:
                source.seek(begin)
                data = source.read(min(_CHUNK, tensor.end - begin))
                _write(out, data)
                copied = len(data)
            if copied == 0:
                raise OSError(errno.EIO, "has become shorter", str(tensor.file))
            begin += copied


def _copy_inside(source: FileIO, out: FileIO, begin: int, end: int) -> int | None:
    """Bytes that the kernel copied between the files; None where it cannot."""
    if not hasattr(os, "copy_file_range"):
        return None
    try:
        return os.copy_file_range(source.fileno(), out.fileno(), end - begin, begin)
    except OSError as error:
        if error.errno in _CANNOT_COPY_INSIDE:
            return None
        raise


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        shutil.copyfile(source, target)


def _same_disk(file: Path, folder: Path) -> bool:
    return file.resolve().stat().st_dev == folder.stat().st_dev


def _is_link(written: Path, source: Path) -> bool:
    return written.is_file() and written.samefile(source)


def _require_room(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise UserError(
            f"the weights to write take {wanted / GIB:.1f} GiB, and {folder.parent} has "
            f"{free / GIB:.1f} free; free some space, or choose another out="
        )
