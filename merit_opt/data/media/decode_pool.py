"""Media decoded ahead of whoever wants them, in processes that can be killed.

A decoder may hang in native code, where no signal and no thread reaches it, crash, or take all
memory. Here it does so in a process of its own, which is killed at a deadline; its file goes on a
list and the others go on.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import TIMEOUT_MAX, Condition
from typing import Self

from merit_opt.data.media.decode_process import DecodeProcess, DecoderDied
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.image import Image
from merit_opt.data.media.medium import Medium
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.unpacked import shown_path
from merit_opt.data.media.video import DECODERS, DecoderName
from merit_opt.data.media.wire import Job
from merit_opt.data.sample import Media
from merit_opt.errors import UserError
from merit_opt.units import GIB

READER = "merit_opt.data.media.medium:read_medium"
MEMORY_BYTES, WAITING_BYTES = 24 * GIB, GIB


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """How media are read.

    Attributes:
        workers: Processes that decode, at least 1.
        seconds: Until a medium's process is killed, above 0 and at most what a timer can wait.
        frames_in_flight: Decoded frames that may wait, at least 1; what is wanted next is decoded
            in any case.
        decoder: What reads videos.

    Raises:
        UserError: A value out of its range.
    """

    workers: int
    seconds: float
    frames_in_flight: int
    decoder: DecoderName

    def __post_init__(self) -> None:
        if self.workers < 1 or self.frames_in_flight < 1 or not self._is_time:
            raise UserError(
                "engine.decode_workers and engine.frames_in_flight are 1 or more and "
                f"engine.decode_seconds is above 0 and at most {TIMEOUT_MAX:.0f}; got "
                f"{self.workers}, {self.frames_in_flight}, {self.seconds}"
            )
        if self.decoder not in DECODERS:
            raise UserError(
                f"engine.decoder is one of {', '.join(DECODERS)}, got {self.decoder!r}"
            )

    @property
    def _is_time(self) -> bool:
        return 0 < self.seconds <= TIMEOUT_MAX


class DecodePool:
    """Decodes media in the order given, inside a ``with`` block; processes start when wanted.

    Args:
        media: What will be taken, in order.
        plan: Which frames of a video.
        settings: How they are read.
        quarantine: Media not to be tried again; those that kill their process are added.
        is_wanted: Asked before each is decoded ahead: whether it still will be.
        reader: See `decode_worker.main`.
        memory: Bytes of address space of a process.
    """

    def __init__(
        self,
        media: Sequence[tuple[Media, ...]],
        plan: FramePlan,
        settings: MediaSettings,
        quarantine: Quarantine,
        *,
        is_wanted: Callable[[tuple[Media, ...]], bool] = lambda media: True,
        reader: str = READER,
        memory: int = MEMORY_BYTES,
    ) -> None:
        self._order = tuple(dict.fromkeys(media))
        self._places = {one: place for place, one in enumerate(self._order)}
        self._plan = plan
        self._settings = settings
        self._quarantine = quarantine
        self._is_wanted = is_wanted
        limit = min(memory, _physical_memory())
        workers = min(settings.workers, len(self._places))
        self._processes = [DecodeProcess(reader, limit) for _ in range(workers)]
        self._at_hand = DecodeProcess(reader, limit)
        self._free: SimpleQueue[DecodeProcess] = SimpleQueue()
        self._executor: ThreadPoolExecutor | None = None
        self._ahead: dict[tuple[Media, ...], Future[Medium | None]] = {}
        self._changed = Condition()
        self._held: dict[tuple[Media, ...], int] = {}
        self._waiting: dict[tuple[Media, ...], int] = {}
        self._next = 0
        self._most_frames = 1
        self._is_closed = False

    def __enter__(self) -> Self:
        """Begin."""
        if self._processes:
            for process in self._processes:
                self._free.put(process)
            self._executor = ThreadPoolExecutor(len(self._processes), "decode")
            self._ahead = {m: self._executor.submit(self._read_ahead, m) for m in self._places}
        return self

    def __exit__(self, *_: object) -> None:
        """End every process, whatever it is at."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for process in (*self._processes, self._at_hand):
            process.close()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        for process in (*self._processes, self._at_hand):
            process.kill()

    def take(self, media: tuple[Media, ...]) -> Medium:
        """One medium; those before it in the order are let go.

        Raises:
            MediaError: It cannot be read, or is on the list of those that killed their process.
            UserError: The decoder cannot be used here, or the list cannot be written.
        """
        future = self._ahead.pop(media, None)
        self._reach(self._places[media] if future else self._next)
        try:
            found = future.result() if future else None
        finally:
            if future:
                self._reach(self._places[media] + 1)
        return self._read(self._at_hand, media) if found is None else found

    def _reach(self, place: int) -> None:
        """Whoever takes them has come to this place: nothing before it is held any longer."""
        with self._changed:
            begin, self._next = self._next, max(self._next, place)
            for media in self._order[begin : self._next]:
                self._held.pop(media, None)
                self._waiting.pop(media, None)
                if (future := self._ahead.pop(media, None)) is not None:
                    future.cancel()
            self._changed.notify_all()

    def _read_ahead(self, media: tuple[Media, ...]) -> Medium | None:
        """The medium as soon as there is room for it; None if nobody wants it then."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._has_room(media))
            if self._is_closed or self._places[media] < self._next:
                raise CancelledError
            self._held[media] = self._frames_expected(media)
        if not self._is_wanted(media):
            self._hold(media, 0, 0)
            return None
        process = self._free.get()
        try:
            found = self._read(process, media)
        except BaseException:
            self._hold(media, 0, 0)
            raise
        finally:
            self._free.put(process)
        pixels = found.pixels[None] if isinstance(found, Image) else found.frames
        self._hold(media, len(pixels), pixels.nbytes)
        return found

    def _hold(self, media: tuple[Media, ...], frames: int, size: int) -> None:
        with self._changed:
            self._most_frames = max(self._most_frames, frames)
            if media in self._held:
                self._held[media], self._waiting[media] = frames, size
                self._changed.notify_all()

    def _has_room(self, media: tuple[Media, ...]) -> bool:
        """Whether it is next, or may wait with what waits already; its bytes are not known yet."""
        frames = sum(self._held.values()) + self._frames_expected(media)
        fits = frames <= self._settings.frames_in_flight
        is_light = sum(self._waiting.values()) < WAITING_BYTES
        return self._places[media] <= self._next or (fits and is_light)

    def _frames_expected(self, media: tuple[Media, ...]) -> int:
        """As planned; where all are shown, as many as any medium had so far."""
        if self._plan.mode == "all":
            return self._most_frames
        return self._plan.count * len(media)

    def _read(self, process: DecodeProcess, media: tuple[Media, ...]) -> Medium:
        job: Job = (media, self._plan, self._settings.decoder)
        seconds = self._settings.seconds
        if (known := self._quarantine.find(job, seconds)) is not None:
            raise MediaError(
                shown_path(media[0]),
                f"{known.reason} on {known.time}, so it is not tried again; to try it, delete "
                f"{self._quarantine.path}",
            )
        try:
            return self._asked(process, job)
        except DecoderDied as error:
            limit = seconds if error.death == "late" else None
            self._quarantine.add(job, error.reason, limit)
            raise MediaError(shown_path(media[0]), f"{error.reason}; replace the file") from None

    def _asked(self, process: DecodeProcess, job: Job) -> Medium:
        """What the process reads; one that crashes, which may have been chance, is asked again."""
        try:
            return process.read(job, self._settings.seconds)
        except DecoderDied as error:
            if self._is_closed:
                raise CancelledError from None
            if error.death != "crash":
                raise
        try:
            return process.read(job, self._settings.seconds)
        except DecoderDied:
            if self._is_closed:
                raise CancelledError from None
            raise


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return MEMORY_BYTES
