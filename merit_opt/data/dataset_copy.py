"""A user's copy of a dataset, in the layout it ships: files, folders, and zips unpacked or not."""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path, PurePath, PurePosixPath

from merit_opt.data.packed import members, packed_digest
from merit_opt.data.sample import Cue, Media
from merit_opt.data.subtitles import read_subtitles
from merit_opt.data.tables import Row, read_json, read_rows
from merit_opt.errors import UserError
from merit_opt.files import content_digest, sampled_digest, write_bytes

ABSENT = "absent/"
VIDEO_SUFFIXES = (".mp4", ".MP4", ".mkv", ".webm", ".avi", ".mov")
TEXT_BYTES = 64 * 1024**2
ZIPS = ("*.zip", "*/*.zip", "*/*/*.zip")


@dataclass(frozen=True)
class DatasetCopy:
    """Files of one dataset on this machine; nothing outside `root` is ever read.

    A `root` inside the hub's cache is full of links to the files of its repository, which are read.

    Attributes:
        root: Where they lie.
        cache: Where what is packed in tables is unpacked to; safe to delete.
    """

    root: Path
    cache: Path

    def find(self, *patterns: str) -> tuple[Path, ...]:
        """The files of the first pattern that has any, in order of name; patterns are of `glob`.

        Raises:
            UserError: None has any; the message names what was looked for.
        """
        if found := self.optional(*patterns):
            return found
        raise UserError(
            f"{self.root} holds none of {', '.join(patterns)}: give suite.root the folder of the "
            "dataset as it ships, or suite.download=true"
        )

    def optional(self, *patterns: str) -> tuple[Path, ...]:
        """As `find`, but none where no pattern has any.

        Raises:
            UserError: One is a link out of `root`.
        """
        for pattern in patterns:
            if found := sorted(p for p in self.root.glob(pattern) if p.is_file()):
                return tuple(self._inside(path.relative_to(self.root)) for path in found)
        return ()

    def rows(self, *patterns: str) -> tuple[Row, ...]:
        """The rows of all tables that `find` gives, one after another."""
        return tuple(row for path in self.find(*patterns) for row in read_rows(path))

    def json(self, *patterns: str) -> dict[str, object]:
        """What each JSON file that `find` gives holds, by its name without suffix."""
        return {path.stem: read_json(path) for path in self.find(*patterns)}

    def media(
        self,
        *names: str,
        start: float | None = None,
        end: float | None = None,
        fps: float | None = None,
    ) -> Media:
        """The medium under the first of these names that is there, on disk or in a zip.

        One that is nowhere becomes a medium that cannot be read: it is counted when it is asked
        about, like any other that fails.

        Args:
            names: Relative to `root`, `/` between folders; a zip file's members, up to two folders
                down, count as if it were unpacked beside itself, in a folder of its name, or at
                `root`. A folder of frames must be unpacked.
            start: See `Media`.
            end: See `Media`.
            fps: See `Media`.

        Raises:
            UserError: A name leads out of `root`.
        """
        found = next((media for name in names if (media := self._found(name))), None)
        media = found or Media(self.root / names[0], f"{ABSENT}{names[0]}")
        return replace(media, start=start, end=end, fps=fps)

    def video(self, *stems: str, start: float | None = None, end: float | None = None) -> Media:
        """The video of the first of these names, whichever of the usual suffixes it has."""
        names = (f"{stem}{suffix}" for stem in stems for suffix in VIDEO_SUFFIXES)
        return self.media(*names, start=start, end=end)

    def picture(self, name: str, content: bytes) -> Media:
        """A picture that a table holds, written to a file of its own once.

        Args:
            name: Of its file, with the suffix.
            content: The file's bytes.
        """
        whole = hashlib.sha256(content).hexdigest()[:24]
        path = self.cache / "pictures" / f"{whole}{PurePosixPath(name).suffix.lower()}"
        if not path.exists():
            write_bytes(path, content)
        return Media(path, content_digest(content))

    def subtitles(self, *names: str, offset: float = 0.0) -> tuple[Cue, ...]:
        """Those under the first of these names that is there; none if there is no such file.

        Args:
            names: As of `media`.
            offset: Seconds taken off every time.

        Raises:
            UserError: A name leads out of `root`, or the file cannot be read or has over 64 MiB.
        """
        return self._cues(names, offset)

    @cached_property
    def _cues(self) -> Callable[[tuple[str, ...], float], tuple[Cue, ...]]:
        @cache
        def read(names: tuple[str, ...], offset: float) -> tuple[Cue, ...]:
            found = ((n, content) for n in names if (content := self._bytes(n)) is not None)
            return next((read_subtitles(n, content, offset) for n, content in found), ())

        return read

    def _bytes(self, name: str) -> bytes | None:
        path = self._inside(name)
        try:
            if path.is_file():
                self._check_size(name, path.stat().st_size)
                return path.read_bytes()
            if (packed := self._members.get(_plain(name))) is None:
                return None
            self._check_size(name, packed[1].file_size)
            with zipfile.ZipFile(packed[0]) as file:
                return file.read(packed[1].filename)
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
            raise UserError(
                f"{name} of {self.root} cannot be read ({error}); fetch it anew"
            ) from error

    def _check_size(self, name: str, size: int) -> None:
        if size > TEXT_BYTES:
            raise UserError(
                f"{name} of {self.root} has {size / 1024**2:.0f} MiB, and subtitles have at most "
                f"{TEXT_BYTES // 1024**2}; put the right file there, or remove it"
            )

    def _inside(self, name: str | PurePath) -> Path:
        path = self.root / name
        if ".." in path.parts[len(self.root.parts) :] or not path.is_relative_to(self.root):
            raise UserError(
                f"{str(name)!r} leads out of suite.root={self.root}; mend the annotation"
            )
        if path.exists() and not any(path.resolve().is_relative_to(w) for w in self._within):
            raise UserError(
                f"{path} is a link out of suite.root={self.root}, where nothing is read; put there "
                "what it leads to, or give suite.root the folder that holds everything"
            )
        return path

    @cached_property
    def _within(self) -> tuple[Path, ...]:
        """Where links may lead: inside, and to the files of the hub's cache that it keeps apart."""
        root = self.root.resolve()
        return (root, root.parents[1] / "blobs") if root.parent.name == "snapshots" else (root,)

    @cached_property
    def _found(self) -> Callable[[str], Media | None]:
        """What lies under a name, whole; looked for once, since a video has many questions."""

        @cache
        def find(name: str) -> Media | None:
            path = self._inside(name)
            if path.exists():
                return Media(path, _content(path))
            if (packed := self._members.get(_plain(name))) is None:
                return None
            archive, member = packed
            return Media(archive, packed_digest(archive, member), member.filename)

        return find

    @cached_property
    def _members(self) -> Mapping[str, tuple[Path, zipfile.ZipInfo]]:
        """Where a member would lie, unpacked -> its zip, and what that says of it."""
        found: dict[str, tuple[Path, zipfile.ZipInfo]] = {}
        for archive in sorted(path for pattern in ZIPS for path in self.root.glob(pattern)):
            inside = archive.relative_to(self.root)
            for info in members(self._inside(inside)):
                for folder in (inside.parent, inside.with_suffix(""), PurePath()):
                    found.setdefault(
                        _plain(f"{folder.as_posix()}/{info.filename}"), (archive, info)
                    )
        return found


def _plain(name: str) -> str:
    return PurePosixPath(name).as_posix()


def _content(path: Path) -> str:
    """Of a file its sampled bytes, of a folder of frames the names and those of its files.

    Files without content have none in common.
    """
    try:
        if path.is_file():
            return sampled_digest(path) if path.stat().st_size else f"{ABSENT}{path.name}"
        files = sorted(p for p in path.iterdir() if p.is_file())
        listing = "\n".join(f"{p.name} {sampled_digest(p)}" for p in files)
        return hashlib.sha256(listing.encode()).hexdigest()[:24]
    except OSError:
        return f"{ABSENT}{path.name}"
