"""How questions are put to the model, and what of it can move a score."""

import hashlib
from dataclasses import dataclass

from merit_opt.data.media.decode_pool import MediaSettings
from merit_opt.data.media.video import DecoderName
from merit_opt.data.versions import library_version
from merit_opt.errors import UserError
from merit_opt.evaluation.scorers import SCORERS
from merit_opt.merging.tensors import MERGES
from merit_opt.models.features import FORMAT, LIBRARIES
from merit_opt.models.levels import LevelBudget
from merit_opt.models.prompt import PROMPTS
from merit_opt.models.waiting import Place
from merit_opt.units import GIB

LAYOUT = "pack/1"


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How questions are put to the model.

    Attributes:
        threads: CPU threads; results differ by about 4e-6 between thread counts.
        backbone: Where the backbone's attention waits, `device` or `host`.
        features_gib: Disk that frozen features may take, above 0.
        levels_gib: Device memory for hidden states between layers, at least 0.
        host_levels_gib: Host memory for more of them, at least 0.
        prefixes: Beginnings of merged recipes whose hidden states are kept too, at least 0.
        decoder: What reads videos; see `read_video`.
        decode_workers: See `MediaSettings`.
        decode_seconds: See `MediaSettings`.
        frames_in_flight: See `MediaSettings`.

    Raises:
        UserError: A value out of its range.
    """

    threads: int
    backbone: Place
    features_gib: float
    levels_gib: float
    host_levels_gib: float
    prefixes: int
    decoder: DecoderName
    decode_workers: int
    decode_seconds: float
    frames_in_flight: int

    def __post_init__(self) -> None:
        _ = self.media
        if self.threads < 1:
            raise UserError(f"engine.threads is 1 or more, got {self.threads}")
        if self.backbone not in ("device", "host"):
            raise UserError(f"engine.backbone is device or host, got {self.backbone!r}")
        sizes = (self.levels_gib, self.host_levels_gib, self.prefixes)
        if not self.features_gib > 0 or not all(size >= 0 for size in sizes):
            raise UserError(
                "engine.features_gib is above 0, and engine.levels_gib, engine.host_levels_gib "
                f"and engine.prefixes are 0 or more; got {self.features_gib}, "
                f"{', '.join(map(str, sizes))}"
            )

    def digest(self, device_type: str) -> str:
        """12 hex digits over `identity`."""
        return hashlib.sha256(self.identity(device_type).encode()).hexdigest()[:12]

    def identity(self, device_type: str) -> str:
        """What can move a score, to read: how it is computed, on what, with which libraries."""
        libraries = " ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
        code = ", ".join((SCORERS, LAYOUT, MERGES, PROMPTS, FORMAT))
        computed = f"threads {self.threads}, decoder {self.decoder}, {device_type}"
        return f"{code}, {computed}, {libraries}"

    @property
    def media(self) -> MediaSettings:
        """How media are read."""
        return MediaSettings(
            self.decode_workers, self.decode_seconds, self.frames_in_flight, self.decoder
        )

    @property
    def feature_bytes(self) -> int:
        """Disk that frozen features may take."""
        return int(self.features_gib * GIB)

    @property
    def levels(self) -> LevelBudget:
        """What may be kept between layers, in bytes."""
        device, host = int(self.levels_gib * GIB), int(self.host_levels_gib * GIB)
        return LevelBudget(device, host, self.prefixes)
