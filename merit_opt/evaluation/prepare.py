"""From a suite to packs: everything that is the same for all recipes, done once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Protocol

import torch

from merit_opt.data.frames import FramePlan
from merit_opt.data.medium import medium_kind, read_medium
from merit_opt.data.sample import Media, Sample
from merit_opt.data.suite import Suite
from merit_opt.data.video import MediaError
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.questions import CannotAsk, Questioner
from merit_opt.models.families.family import VisualFeatures
from merit_opt.models.families.inputs import MediaRefused, visual_features
from merit_opt.models.features import FeatureStore, feature_identity, feature_key
from merit_opt.models.pack import Pack, Question, packs_by_prefix
from merit_opt.models.pair import ModelPair


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
    """

    packs: tuple[Pack, ...]
    excluded: Mapping[str, str]


class Preparer:
    """Makes packs, visual features taken from the store or computed."""

    def __init__(
        self,
        pair: ModelPair,
        store: FeatureStore,
        *,
        threads: int,
        reporter: EngineReporter,
    ) -> None:
        self._pair = pair
        self._store = store
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
        groups = _by_media(suite.samples)
        for done, (media, samples) in enumerate(groups.items()):
            self._reporter.stage(f"reading {suite.name} media", done, len(groups))
            features = self._features(media, suite.asking.frames)
            if isinstance(features, MediaError):
                excluded |= {s.id: str(features) for s in samples}
                continue
            asked: list[Question] = []
            for sample in samples:
                try:
                    asked += self._questioner.questions(sample, suite.asking, features)
                except CannotAsk as error:
                    excluded[sample.id] = str(error)
            packs += packs_by_prefix(asked, features)
        self._refuse_if_too_many(suite, excluded)
        return Prepared(tuple(packs), excluded)

    def _features(self, media: tuple[Media, ...], plan: FramePlan) -> VisualFeatures | MediaError:
        (one,) = media
        key = feature_key(self._identity, one.digest, medium_kind(one.path), asdict(plan))
        if key not in self._known:
            try:
                self._known[key] = self._store.get(key, lambda: self._encode(media, plan))
            except MediaError as error:
                self._known[key] = error
        return self._known[key]

    def _encode(self, media: tuple[Media, ...], plan: FramePlan) -> VisualFeatures:
        medium = read_medium(media, plan)
        pair = self._pair
        try:
            return visual_features(pair.family, pair.model, pair.processor, medium)
        except MediaRefused as error:
            raise MediaError(
                media[0].path, f"this model's processor refuses it ({error})"
            ) from error
        except torch.OutOfMemoryError as error:
            raise TrialFailed(
                f"out of memory for {media[0].path}; ask for fewer frames: {error}"
            ) from error

    def _refuse_if_too_many(self, suite: Suite, excluded: Mapping[str, str]) -> None:
        if len(excluded) > suite.max_unusable * len(suite.samples):
            reasons = "\n  ".join(sorted(set(excluded.values())))
            raise UserError(
                f"suite {suite.name}: {len(excluded)} of {len(suite.samples)} samples cannot be "
                f"asked, more than suite.max_unusable={suite.max_unusable}:\n  {reasons}"
            )


def _by_media(samples: Sequence[Sample]) -> dict[tuple[Media, ...], list[Sample]]:
    groups: dict[tuple[Media, ...], list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.media, []).append(sample)
    return groups
