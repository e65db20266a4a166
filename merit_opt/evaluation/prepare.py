"""From a suite to packs: everything that is the same for all recipes, done once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Protocol

import torch

from merit_opt.data.frames import FramePlan
from merit_opt.data.medium import medium_kind, read_medium
from merit_opt.data.prompts import Prompt, said
from merit_opt.data.sample import Media, Sample
from merit_opt.data.suite import Suite
from merit_opt.data.video import MediaError
from merit_opt.errors import TrialFailed, UserError
from merit_opt.models.attention import smallest_window
from merit_opt.models.families.family import VisualFeatures
from merit_opt.models.families.inputs import MediaRefused, visual_features
from merit_opt.models.features import FeatureStore, feature_identity, feature_key
from merit_opt.models.pack import Pack, Question, pack
from merit_opt.models.pair import ModelPair
from merit_opt.models.prompt import encode_prompt, placeholder_in


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
        packs: One a medium, in the order of the suite.
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
            found = {s.id: self._question(s, suite.asking.prompt, features) for s in samples}
            excluded |= {i: why for i, why in found.items() if isinstance(why, str)}
            if asked := [q for q in found.values() if isinstance(q, Question)]:
                packs.append(pack(asked, features))
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

    def _question(
        self, sample: Sample, prompt: Prompt, features: VisualFeatures
    ) -> Question | str:
        """The sample encoded, or why it cannot be asked."""
        text = said(prompt, sample, ())
        if (token := placeholder_in(self._pair.processor, text)) is not None:
            return f"its prompt holds {token}, which stands for media and for nothing else here"
        encoded = encode_prompt(self._pair, prompt, text, features)
        if (length := len(encoded.input_ids)) > self._most_tokens:
            return (
                f"its prompt has {length} tokens and this model reads {self._most_tokens}; ask for "
                "fewer frames or smaller ones"
            )
        return Question(sample.id, encoded, len(sample.options))

    @property
    def _most_tokens(self) -> int:
        """Of one prompt: what positions and every attention window hold."""
        decoder = self._pair.model.get_decoder()
        positions: int = decoder.config.max_position_embeddings
        return min(positions, smallest_window(decoder) or positions)

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
