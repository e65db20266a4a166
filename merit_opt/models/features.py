"""Frozen visual features on disk: computed once per medium for the life of the cache.

One safetensors file per medium, memory-mapped, so that the processes of one host share its pages.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.identity import medium_identity
from merit_opt.data.media.status import MediaStatus
from merit_opt.data.media.video import DecoderName
from merit_opt.data.sample import Media
from merit_opt.data.versions import library_version
from merit_opt.errors import UserError
from merit_opt.files import UMASK, WRITING, replacing
from merit_opt.models.families.family import InPrompt, VisualFeatures
from merit_opt.models.pair import ModelPair

# Raise it with every change of how media are read, what a family's `encode` makes of them, or how
# that is written.
FORMAT = "features/4"
SUFFIX = ".safetensors"
LIBRARIES = ("torch", "torchvision", "transformers", "pillow", "av", "decord", "torchcodec")
LOCKS = 64
LOOKS = 64
ABANDONED_SECONDS = 3600.0


class FeatureStore:
    """Features by a key that names everything that shapes them.

    Args:
        folder: Where the files lie; safe to delete.
        limit: Bytes the files may take together, at least 1; the least recently used go first. A
            process may write a 64th more before it looks again.

    Raises:
        UserError: The limit is below 1.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        if limit < 1:
            raise UserError(f"the features' size limit must be above 0, got {limit} bytes")
        self.folder = folder
        self._limit = limit
        self._unchecked = limit

    def get(self, key: str, build: Callable[[], VisualFeatures]) -> VisualFeatures:
        """The features of `key`, built by the first process that asks while others wait.

        A torn or foreign file is dropped and built again. The lock goes with the process that
        holds it, so a dead one keeps nobody waiting.

        Raises:
            UserError: The folder cannot be written.
        """
        path = self.folder / f"{key}{SUFFIX}"
        if (known := _read(path, key)) is not None:
            return known
        with self._held(f"{int(key, 16) % LOCKS:02d}"):
            if (known := _read(path, key)) is not None:
                return known
            features = build()
            with self._told():
                path.unlink(missing_ok=True)
                _write(path, key, features)
                self._unchecked += path.stat().st_size
            written = _read(path, key)
        if written is None:
            raise UserError(
                f"{path} was damaged as soon as it was written; check the disk, or choose another "
                "output_dir="
            )
        if self._unchecked * LOOKS > self._limit:
            with self._told():
                self._evict(path)
        return written

    def has(self, key: str) -> bool:
        """Whether there is a file for it, whole or not."""
        return (self.folder / f"{key}{SUFFIX}").exists()

    @property
    def size(self) -> int:
        """Bytes that the files take now."""
        return sum(file.size for file in _files(self.folder))

    @contextmanager
    def _held(self, name: str) -> Generator[None]:
        lock = FileLock(self.folder / f"{name}.lock")
        with self._told():
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _told(self) -> Generator[None]:
        """A folder that cannot be used is a sentence."""
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot keep visual features in {self.folder}: {error.strerror or error}; free "
                "some space, or choose another output_dir="
            ) from error

    def _evict(self, newest: Path) -> None:
        """Remove files until the rest fits; a process that has one mapped keeps its pages."""
        self._unchecked = 0
        with self._held("evict"):
            _remove_abandoned(self.folder)
            files = sorted(_files(self.folder), key=lambda f: (f.path != newest, f.used))
            total = sum(f.size for f in files)
            for file in (f for f in files if f.path != newest):
                if total <= self._limit:
                    return
                file.path.unlink(missing_ok=True)
                total -= file.size


def feature_identity(pair: ModelPair, threads: int) -> str:
    """24 hex digits over all that shapes features but the medium.

    Family, weights and configuration of the vision side, processor, dtype, device type, threads,
    versions of the libraries, and `FORMAT`.
    """
    config: dict[str, Any] = pair.model.config.to_dict()
    facts = {
        "format": FORMAT,
        "family": pair.family.model_type,
        "weights": _vision_digest(pair.model),
        "config": {k: repr(v) for k, v in config.items() if k != "text_config"},
        "attention": pair.model.config.vision_config._attn_implementation,
        "processor": {k: repr(v) for k, v in pair.processor.to_dict().items()},
        "dtype": str(pair.model.dtype),
        "device": pair.device.type,
        "threads": threads,
        "libraries": {name: library_version(name) for name in LIBRARIES},
    }
    return _digest(facts)


def feature_key(
    identity: str, media: Sequence[Media], plan: FramePlan, decoder: DecoderName
) -> str:
    """24 hex digits: `identity`, and which frames of which media, read as what and by what."""
    shown = [medium_identity(one) for one in media]
    return _digest([identity, shown, asdict(plan), decoder])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _vision_digest(model: Any) -> str:
    """Over every parameter and buffer outside the decoder and the head."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    others = {id(t) for t in (*decoder.parameters(), *decoder.buffers(), *head.parameters())}
    digest = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if id(tensor) not in others:
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()


def _read(path: Path, key: str) -> VisualFeatures | None:
    """The features in the file, its time of use renewed; None where it holds no such."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["features"])
            if facts["key"] != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found = VisualFeatures(
                tokens=tensors["tokens"],
                prompt=_in_prompt(facts["prompt"]),
                grid=None if facts["grid"] is None else tuple(facts["grid"]),
                seconds_per_grid=facts["seconds_per_grid"],
                deepstack=tuple(tensors[f"deepstack.{i}"] for i in range(len(tensors) - 1)),
                times=tuple(facts["times"]),
                status=MediaStatus(**facts["status"]),
            )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    with suppress(OSError):
        os.utime(path)
    return found


def _in_prompt(facts: dict[str, Any]) -> InPrompt:
    texts = facts.pop("texts")
    return InPrompt(**facts, texts=None if texts is None else tuple(texts))


def _write(path: Path, key: str, features: VisualFeatures) -> None:
    facts = {
        "key": key,
        "prompt": asdict(features.prompt),
        "grid": features.grid,
        "seconds_per_grid": features.seconds_per_grid,
        "times": features.times,
        "status": asdict(features.status),
    }
    tensors: Mapping[str, Tensor] = {
        "tokens": features.tokens,
        **{f"deepstack.{i}": level for i, level in enumerate(features.deepstack)},
    }
    with replacing(path) as temporary:
        try:
            save_file(
                {name: t.detach().cpu().contiguous() for name, t in tensors.items()},
                temporary,
                metadata={"features": json.dumps(facts)},
            )
        except SafetensorError as error:
            raise OSError(str(error)) from error
        temporary.chmod(0o666 & ~UMASK)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size: int
    used: float


def _remove_abandoned(folder: Path) -> None:
    """What killed processes were writing."""
    for path in folder.glob(f"{WRITING}*"):
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink()


def _files(folder: Path) -> Iterator[_File]:
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):
            status = path.stat()
            yield _File(path, status.st_size, status.st_mtime)
