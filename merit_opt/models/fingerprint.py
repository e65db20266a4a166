"""Identity of a checkpoint folder without reading all of it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

WHOLE_BYTES = 64 * 1024**2
SAMPLES = 1024
SAMPLE_BYTES = 4 * 1024
WEIGHTS = "model*.safetensors"
TEXT_SUFFIXES = {".json", ".jinja", ".txt", ".model"}


def folder_digest(folder: Path) -> str:
    """12 hex digits over configs, tokenizer and weights.

    A weights file of up to 64 MiB is read whole. Of a larger one the safetensors header, the size
    and 1024 evenly spread samples of 4 KiB are read, so that 15 GB cost milliseconds: a change
    that falls between the samples is not seen. Weights that transformers does not load, which a
    repository may hold beside, are no part of it.
    """
    digest = hashlib.sha256()
    for path in _identity_files(folder):
        digest.update(path.name.encode())
        if path.suffix == ".safetensors":
            for chunk in _weights_sample(path):
                digest.update(chunk)
        else:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _identity_files(folder: Path) -> list[Path]:
    beside = (p for p in folder.iterdir() if p.suffix in TEXT_SUFFIXES)
    return sorted(p for p in (*beside, *folder.glob(WEIGHTS)) if p.is_file())


def _weights_sample(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    yield str(size).encode()
    if size <= WHOLE_BYTES:
        yield path.read_bytes()
        return
    with path.open("rb") as file:
        header = min(int.from_bytes(file.read(8), "little"), size)
        yield file.read(header)
        for i in range(SAMPLES):
            file.seek(8 + header + max(0, size - 8 - header - SAMPLE_BYTES) * i // (SAMPLES - 1))
            yield file.read(SAMPLE_BYTES)
