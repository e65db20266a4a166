"""Frozen visual features on disk: computed once per video for the life of the cache.

One safetensors file per video, memory-mapped, so that the processes of one host share its pages.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from merit_opt.errors import UserError
from merit_opt.models.families.family import VideoFeatures
from merit_opt.models.pair import ModelPair

SUFFIX = ".safetensors"
LIBRARIES = ("torch", "torchvision", "transformers", "av", "decord")
LOCKS = 64


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """Features by a key that names everything that shapes them.

    Attributes:
        folder: Where the files lie; safe to delete.
        limit: Bytes the files may take together, at least 1; the least recently used go first.

    Raises:
        UserError: The limit is below 1.
    """

    folder: Path
    limit: int

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise UserError(f"the features' size limit must be above 0, got {self.limit} bytes")

    def get(self, key: str, build: Callable[[], VideoFeatures]) -> VideoFeatures:
        """The features of `key`, built by the first process that asks while others wait.

        A torn or foreign file is dropped and built again. The lock goes with the process that
        holds it, so a dead one keeps nobody waiting.

        Raises:
            UserError: The folder cannot be written.
        """
        path = self.folder / f"{key}{SUFFIX}"
        if (known := _read(path, key)) is not None:
            return known
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f"{int(key, 16) % LOCKS:02d}.lock"):
                if (known := _read(path, key)) is not None:
                    return known
                path.unlink(missing_ok=True)
                _write(path, key, build())
            self._evict(path)
        except OSError as error:
            raise UserError(
                f"cannot keep visual features in {self.folder}: {error.strerror or error}; free "
                "some space, or choose another output_dir="
            ) from error
        if (written := _read(path, key)) is None:
            raise UserError(
                f"{path} was damaged as soon as it was written; check the disk, or choose another "
                "output_dir="
            )
        return written

    def has(self, key: str) -> bool:
        """Whether a file of `key` is there."""
        return (self.folder / f"{key}{SUFFIX}").exists()

    def _evict(self, newest: Path) -> None:
        """Remove files until the rest fits; a process that has one mapped keeps its pages."""
        with FileLock(self.folder / "evict.lock"):
            files = sorted(_files(self.folder), key=lambda f: (f.path != newest, f.used))
            total = sum(f.size for f in files)
            for file in (f for f in files if f.path != newest):
                if total <= self.limit:
                    return
                file.path.unlink(missing_ok=True)
                total -= file.size


def feature_identity(pair: ModelPair, threads: int) -> str:
    """24 hex digits over all that shapes features but the video.

    Weights of the vision side, processor, dtype, device type, threads and libraries.
    """
    video_processor: Any = pair.processor.video_processor
    facts = {
        "family": pair.family.model_type,
        "weights": _vision_digest(pair.model),
        "processor": {k: repr(v) for k, v in sorted(video_processor.to_dict().items())},
        "dtype": str(pair.model.dtype),
        "device": pair.device.type,
        "threads": threads,
        "libraries": {name: library_version(name) for name in LIBRARIES},
    }
    return _digest(facts)


def feature_key(identity: str, media_digest: str, frames: int | None) -> str:
    """24 hex digits: `identity` and which frames of which video."""
    return _digest([identity, media_digest, frames])


def library_version(library: str) -> str:
    """The installed version, or `absent`."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _vision_digest(model: Any) -> str:
    """Over every parameter and kept buffer outside the decoder and the head."""
    decoder = {id(t) for t in (*model.get_decoder().parameters(), *model.get_decoder().buffers())}
    head = {id(t) for t in model.get_output_embeddings().parameters()}
    digest = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if id(tensor) not in decoder | head:
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()


def _read(path: Path, key: str) -> VideoFeatures | None:
    """The features in the file, its time of use renewed; None where it holds no such."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["features"])
            if facts["key"] != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found = VideoFeatures(
                tokens=tensors["tokens"],
                placeholder=facts["placeholder"],
                grid=None if facts["grid"] is None else tuple(facts["grid"]),
                seconds_per_grid=facts["seconds_per_grid"],
                deepstack=tuple(tensors[f"deepstack.{i}"] for i in range(len(tensors) - 1)),
            )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    with suppress(OSError):
        os.utime(path)
    return found


def _write(path: Path, key: str, features: VideoFeatures) -> None:
    facts = {
        "key": key,
        "placeholder": features.placeholder,
        "grid": features.grid,
        "seconds_per_grid": features.seconds_per_grid,
    }
    tensors: Mapping[str, Tensor] = {
        "tokens": features.tokens,
        **{f"deepstack.{i}": level for i, level in enumerate(features.deepstack)},
    }
    temporary = path.with_name(f".{secrets.token_hex(8)}")
    try:
        save_file(
            {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
            temporary,
            metadata={"features": json.dumps(facts)},
        )
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    used: float


def _files(folder: Path) -> Iterator[_File]:
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):
            status = path.stat()
            yield _File(path, status.st_size, status.st_mtime)
