"""Media that killed or outlasted what was to read them, remembered from one run to the next."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from merit_opt.data.media.identity import medium_identity
from merit_opt.data.media.unpacked import shown_path
from merit_opt.data.media.wire import Job
from merit_opt.data.versions import library_version
from merit_opt.errors import UserError
from merit_opt.files import write_text

LIBRARIES = ("av", "decord", "pillow", "torchcodec")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Why a medium is not read again.

    Attributes:
        media: Its files.
        reason: In words.
        time: When, in ISO 8601.
        seconds: How long it was given, where it took too long; a longer deadline tries it again.
    """

    media: tuple[str, ...]
    reason: str
    time: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The list, in a file that may be deleted to clear it.

    Attributes:
        path: The file.
    """

    path: Path

    @property
    def entries(self) -> Mapping[str, Quarantined]:
        """What is in it by key; nothing where there is no file, or none that can be read."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))["quarantined"]
            return {key: _entry(facts) for key, facts in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def find(self, job: Job, seconds: float) -> Quarantined | None:
        """The entry of this job under the installed readers, unless it now gets more time."""
        entries = self.entries
        found = entries.get(_key(job)) if entries else None
        if found is None or (found.seconds is not None and found.seconds < seconds):
            return None
        return found

    def add(self, job: Job, reason: str, seconds: float | None) -> None:
        """Put it on the list; other processes may do the same at the same time.

        Raises:
            UserError: The file cannot be written.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Quarantined(tuple(str(shown_path(m)) for m in job[0]), reason, now, seconds)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock")):
                entries = {**self.entries, _key(job): entry}
                facts = {key: asdict(one) for key, one in entries.items()}
                text = json.dumps({"quarantined": facts}, indent=1)
                write_text(self.path, text + "\n")
        except OSError as error:
            raise UserError(
                f"cannot write {self.path}: {error.strerror or error}; free some space, or choose "
                "another output_dir="
            ) from error


def _entry(facts: dict[str, object]) -> Quarantined:
    seconds, media = facts["seconds"], facts["media"]
    if not isinstance(media, list) or not isinstance(seconds, float | int | None):
        raise TypeError("no entry of a quarantine")
    return Quarantined(tuple(map(str, media)), str(facts["reason"]), str(facts["time"]), seconds)


def _key(job: Job) -> str:
    """24 hex digits over the media's contents, the frames wanted, and what would read them."""
    media, plan, decoder = job
    versions = [library_version(name) for name in LIBRARIES]
    value = [[medium_identity(one) for one in media], asdict(plan), decoder, versions]
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]
