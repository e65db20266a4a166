"""The samples of one pack, and what a model says to their options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from merit_opt.data.sample import Sample
from merit_opt.data.suite import ScorerName
from merit_opt.evaluation.margins import OPTIONS
from merit_opt.models.forward import answer_rows, embed, finish
from merit_opt.models.frames import FrameTokens, Levels, mean_features, without_frames
from merit_opt.models.pack import Pack, pack
from merit_opt.models.pair import ModelPair

Said = Mapping[str, Tensor]
"""Sample id -> natural-log probabilities of its options, float32 [options]."""


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """Samples about one video, put to the live model.

    Attributes:
        pair: With the live model.
        pack: Of all their questions.
        frames: Of the video.
        samples: By id.
        scorer: Who reads the answers.
    """

    pair: ModelPair
    pack: Pack
    frames: FrameTokens
    samples: Mapping[str, Sample]
    scorer: ScorerName

    @property
    def baseline(self) -> Levels:
        """What takes the place of a frame."""
        return mean_features(self.pack.features, self.frames)

    def said(self, rows: Sequence[Tensor]) -> Said:
        """From log-probabilities, a row each question of the pack."""
        of_sample: dict[str, list[Tensor]] = {}
        for question, row in zip(self.pack.questions, rows, strict=True):
            of_sample.setdefault(question.id, []).append(row)
        read = OPTIONS[self.scorer]
        return {i: read(len(self.samples[i].options), own) for i, own in of_sample.items()}

    @torch.no_grad()
    def answers(self, changed: Pack | None = None) -> Said:
        """What the live model says, of the pack or of a changed one.

        Raises:
            TrialFailed: A logit is not finite; the message names the sample.
        """
        one = changed or self.pack
        read = finish(self.pair, one, embed(self.pair, one), 0)
        return {i: row.cpu() for i, row in self.said(answer_rows(self.pair, one, read)).items()}

    def without_all(self) -> Pack:
        """Of a video of nothing but its mean feature."""
        return without_frames(self.pack, self.frames, range(self.frames.count), self.baseline)

    def alone(self) -> "Iterator[Asked]":
        """Each sample by itself."""
        for name in self.samples:
            yield self._only([name])

    def halves(self) -> "list[Asked]":
        """Half of the samples each, or all there is of one."""
        names = list(self.samples)
        parts = (names[: len(names) // 2], names[len(names) // 2 :])
        return [self._only(part) for part in parts if part]

    def _only(self, names: Sequence[str]) -> "Asked":
        own = {name: self.samples[name] for name in names}
        if len(own) == len(self.samples):
            return self
        questions = [q for q in self.pack.questions if q.id in own]
        return replace(self, samples=own, pack=pack(questions, self.pack.features))
