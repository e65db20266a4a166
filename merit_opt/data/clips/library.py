"""The rendered clips on disk: made at first use, checked at every use, rebuilt when damaged.

One folder per (revision, seed, number of clips), holding the mp4 files and `clips.json`.
"""

import hashlib
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from merit_opt.data.clips.render import render, write_mp4
from merit_opt.data.clips.scene import Event, Events, clip_events
from merit_opt.data.progress import Progress
from merit_opt.data.sample import Media
from merit_opt.errors import UserError

REVISION = "2"
MANIFEST = "clips.json"


@dataclass(frozen=True, slots=True)
class Clip:
    """One rendered clip.

    Attributes:
        id: Its number in five digits.
        media: The mp4 file; its digest is the sha256 of the file's bytes.
        events: What it shows, and when.
    """

    id: str
    media: Media
    events: Events


def clip_library(
    *, cache: Path, clips: int, seed: int, progress: Progress | None
) -> tuple[Clip, ...]:
    """Clips 0 to `clips` - 1 of a seed, rendered under `cache` unless they lie there intact.

    Args:
        cache: Folder that may be deleted at any time; made if missing.
        clips: How many; more clips of a seed begin with the same clips.
        seed: Chooses events and looks.
        progress: Called with (stage, done, total) while rendering.

    Raises:
        UserError: The folder cannot be written.
    """
    folder = cache / f"clips-{REVISION}-seed{seed}-{clips}"
    found = read_library(folder, clips=clips, seed=seed)
    if found is None:
        try:
            _rebuild(folder, clips=clips, seed=seed, progress=progress)
        except OSError as error:
            raise UserError(
                f"cannot write the rendered clips to {folder}: {error.strerror or error}; "
                "free some space there or name another cache folder"
            ) from error
        found = read_library(folder, clips=clips, seed=seed)
    if found is None:
        raise UserError(
            f"the rendered clips in {folder} changed while they were being read; "
            "see who else writes there, or name another cache folder"
        )
    return found


def read_library(folder: Path, *, clips: int, seed: int) -> tuple[Clip, ...] | None:
    """The clips in a folder, or None unless every one is there, intact and of this seed."""
    try:
        found = tuple(_clip(folder, row) for row in _rows(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    expected = [(f"{i:05d}", clip_events(seed=seed, clip=i)) for i in range(clips)]
    whole = [(clip.id, clip.events) for clip in found] == expected
    return found if whole and all(_intact(clip.media) for clip in found) else None


def clip_of(media: Media) -> Clip:
    """The clip whose mp4 file this is, from the manifest beside it.

    Raises:
        UserError: The file is not one of a library's clips.
    """
    try:
        rows = _rows(media.path.parent)
    except (OSError, ValueError, KeyError, TypeError):
        rows = []
    for row in rows:
        if row["file"] == media.path.name:
            return _clip(media.path.parent, row)
    raise UserError(
        f"{media.path} is not a rendered clip: no {MANIFEST} beside it names it; "
        "event times are only known for the suite `clips`"
    )


def _rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["clips"]


def _clip(folder: Path, row: dict[str, Any]) -> Clip:
    events = tuple(Event(**event) for event in row["events"])
    return Clip(row["id"], Media(path=folder / row["file"], digest=row["digest"]), events)


def _intact(media: Media) -> bool:
    try:
        return file_digest(media.path) == media.digest
    except OSError:
        return False


def file_digest(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _rebuild(folder: Path, *, clips: int, seed: int, progress: Progress | None) -> None:
    """Render beside the folder, then take its place unless another process was faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(folder)
    fresh.mkdir()
    try:
        _fill(fresh, clips=clips, seed=seed, progress=progress)
        if read_library(folder, clips=clips, seed=seed) is None:
            _replace(folder, fresh)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fill(folder: Path, *, clips: int, seed: int, progress: Progress | None) -> None:
    rows: list[dict[str, Any]] = []
    for number in range(clips):
        events, path = clip_events(seed=seed, clip=number), folder / f"{number:05d}.mp4"
        write_mp4(path, render(events, seed=seed, clip=number))
        rows.append(
            {
                "id": path.stem,
                "file": path.name,
                "digest": file_digest(path),
                "events": [asdict(event) for event in events],
            }
        )
        if progress:
            progress("rendering clips", number + 1, clips)
    manifest = {"schema": 1, "revision": REVISION, "seed": seed, "clips": rows}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _replace(folder: Path, fresh: Path) -> None:
    damaged = _beside(folder)
    try:
        os.rename(folder, damaged)
    except FileNotFoundError:
        pass
    else:
        shutil.rmtree(damaged, ignore_errors=True)
    try:
        os.rename(fresh, folder)
    except OSError:
        if not (folder / MANIFEST).exists():
            raise


def _beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
