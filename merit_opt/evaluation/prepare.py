"""From a suite to packs: everything that is the same for all recipes, done once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from merit_opt.data.media.decode_pool import DecodePool, MediaSettings
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.medium import Medium
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaError, MediaStatus
from merit_opt.data.media.unpacked import shown_path
from merit_opt.data.sample import Media, Sample
from merit_opt.data.suite import Asking, Suite
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.questions import CannotAsk, Questioner
from merit_opt.models.families.family import VisualFeatures
from merit_opt.models.families.inputs import MediaRefused, visual_features
from merit_opt.models.features import FeatureStore, feature_identity, feature_key
from merit_opt.models.pack import Pack, Question, packs_by_prefix
from merit_opt.models.pair import ModelPair

TOLD = 5


class EngineReporter(Protocol):
    """Is told what the engine is at."""

    def stage(self, name: str, done: int, total: int) -> None:
        """`done` of `total` steps of a longer stage are finished."""
        ...

    def warn(self, message: str) -> None:
        """Something is amiss, and the engine goes on."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Prepared:
    """A suite as the engine reads it.

    Attributes:
        packs: One a medium, or several where subtitles stand between its frames, in the order of
            the suite.
        excluded: Sample id -> why it cannot be asked, whatever the recipe.
        statuses: Media of a sample -> how reading them went.
    """

    packs: tuple[Pack, ...]
    excluded: Mapping[str, str]
    statuses: Mapping[tuple[Media, ...], MediaStatus]


class Preparer:
    """Makes packs, visual features taken from the store or computed.

    Args:
        pair: The live pair.
        store: Where features are kept.
        media: How media are read.
        quarantine: Media that are not read again.
        threads: See `EngineSettings`.
        reporter: Is told what goes on.
    """

    def __init__(
        self,
        pair: ModelPair,
        store: FeatureStore,
        media: MediaSettings,
        quarantine: Quarantine,
        *,
        threads: int,
        reporter: EngineReporter,
    ) -> None:
        self._pair = pair
        self._store = store
        self._media = media
        self._quarantine = quarantine
        self._threads = threads
        self._reporter = reporter
        self._questioner = Questioner(pair)
        self._known: dict[str, VisualFeatures | MediaError] = {}

    @cached_property
    def _identity(self) -> str:
        """Reads all weights of the vision side, so only when a feature is wanted."""
        return feature_identity(self._pair, self._threads)

    @torch.no_grad()
    def prepare(self, suite: Suite) -> Prepared:
        """Packs of the suite's samples, those left out whose media, words or length forbid it.

        Raises:
            UserError: Too many are left out, or features cannot be kept on disk.
            TrialFailed: Memory does not suffice for a medium.
        """
        packs: list[Pack] = []
        excluded: dict[str, str] = {}
        statuses: dict[tuple[Media, ...], MediaStatus] = {}
        groups = _by_media(suite.samples)
        with self._reading_ahead(groups, suite.asking.frames) as pool:
            for done, (media, samples) in enumerate(groups.items()):
                self._reporter.stage(f"reading {suite.name} media", done, len(groups))
                features = self._features(media, suite.asking.frames, pool)
                if isinstance(features, MediaError):
                    statuses[media] = MediaStatus("failed", detail=features.reason)
                    excluded |= {s.id: str(features) for s in samples}
                    continue
                statuses[media] = features.status
                asked, not_asked = self._questions(samples, suite.asking, features)
                excluded |= not_asked
                packs += packs_by_prefix(asked, features)
        self._refuse_if_too_many(suite, excluded)
        self._tell_of_incomplete(suite, statuses)
        return Prepared(tuple(packs), excluded, statuses)

    def _reading_ahead(
        self, groups: Mapping[tuple[Media, ...], object], plan: FramePlan
    ) -> DecodePool:
        """What is in no store is decoded while the vision side is at what comes before it."""

        def is_missing(media: tuple[Media, ...]) -> bool:
            key = self._key(media, plan)
            return key not in self._known and not self._store.has(key)

        missing = [media for media in groups if is_missing(media)]
        return DecodePool(missing, plan, self._media, self._quarantine, is_wanted=is_missing)

    def reading(self, media: Sequence[tuple[Media, ...]], plan: FramePlan) -> DecodePool:
        """Gives these media, in this order, whatever is in the store."""
        return DecodePool(media, plan, self._media, self._quarantine)

    def _key(self, media: tuple[Media, ...], plan: FramePlan) -> str:
        return feature_key(self._identity, media, plan, self._media.decoder)

    def _features(
        self, media: tuple[Media, ...], plan: FramePlan, pool: DecodePool
    ) -> VisualFeatures | MediaError:
        key = self._key(media, plan)
        if key not in self._known:
            try:
                self._known[key] = self._store.get(
                    key, lambda: self._encode(media, pool.take(media))
                )
            except MediaError as error:  # whose traceback holds what was decoded
                self._known[key] = MediaError(error.path, error.reason)
        return self._known[key]

    def _encode(self, media: tuple[Media, ...], medium: Medium) -> VisualFeatures:
        pair, path = self._pair, shown_path(media[0])
        try:
            return visual_features(pair.family, pair.model, pair.processor, medium)
        except MediaRefused as error:
            raise MediaError(path, f"this model's processor refuses it ({error})") from error
        except torch.OutOfMemoryError as error:
            raise TrialFailed(
                f"out of memory for {path}; ask for fewer frames: {error}"
            ) from error

    def _questions(
        self, samples: Sequence[Sample], asking: Asking, features: VisualFeatures
    ) -> tuple[list[Question], dict[str, str]]:
        """The questions about one medium, and why the rest cannot be asked."""
        asked: list[Question] = []
        not_asked: dict[str, str] = {}
        for sample in samples:
            try:
                asked += self._questioner.questions(sample, asking, features)
            except CannotAsk as error:
                not_asked[sample.id] = str(error)
        return asked, not_asked

    def _tell_of_incomplete(
        self, suite: Suite, statuses: Mapping[tuple[Media, ...], MediaStatus]
    ) -> None:
        """Of media that are used although something of them is missing."""
        told = [
            f"{shown_path(media[0])} ({status})"
            for media, status in statuses.items()
            if status.kind in ("partial", "truncated")
        ]
        if told:
            more = f"; and {len(told) - TOLD} more" if len(told) > TOLD else ""
            self._reporter.warn(
                f"{len(told)} of {len(statuses)} media of suite {suite.name} are used as far as "
                f"they can be read: {'; '.join(told[:TOLD])}{more}"
            )

    def _refuse_if_too_many(self, suite: Suite, excluded: Mapping[str, str]) -> None:
        if len(excluded) > suite.max_unusable * len(suite.samples):
            reasons = "\n  ".join(sorted(set(excluded.values())))
            raise UserError(
                f"suite {suite.name}: {len(excluded)} of {len(suite.samples)} samples cannot be "
                f"asked, more than suite.max_unusable={suite.max_unusable}; mend what is told here, "
                f"or allow more of them:\n  {reasons}"
            )


def _by_media(samples: Sequence[Sample]) -> dict[tuple[Media, ...], list[Sample]]:
    groups: dict[tuple[Media, ...], list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.media, []).append(sample)
    return groups
