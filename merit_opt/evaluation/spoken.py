"""Scores of answers in a model's own words."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from merit_opt.data.media.medium import Medium
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.unpacked import shown_path
from merit_opt.data.sample import Media, Sample
from merit_opt.data.suite import Decoding, Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.evaluation import Score
from merit_opt.evaluation.meter import Meter
from merit_opt.evaluation.scorers import score_text
from merit_opt.models.families.family import VisualInputs
from merit_opt.models.families.inputs import MediaRefused, visual_inputs
from merit_opt.models.generate import spoken
from merit_opt.models.pack import Pack, Question
from merit_opt.models.pair import ModelPair


@dataclass(frozen=True, slots=True)
class Speaking:
    """Lets the live model answer a pack's questions one after another.

    Attributes:
        pair: With the live model.
        suite: Whose samples they are.
        meter: Is told what it costs.
        take: Gives a medium that was read before, or raises `MediaError`.
    """

    pair: ModelPair
    suite: Suite
    meter: Meter
    take: Callable[[tuple[Media, ...]], Medium]

    def __call__(self, pack: Pack) -> dict[str, Score]:
        """Sample id -> score.

        Raises:
            TrialFailed: The medium can no longer be read, or the model's numbers are not finite.
        """
        samples = {s.id: s for s in self.suite.only(q.id for q in pack.questions).samples}
        with self.meter.stage("load"):
            inputs = self._inputs(samples[pack.questions[0].id])
        scores: dict[str, Score] = {}
        for question in pack.questions:
            with self.meter.stage("forward"):
                text = self._spoken(question, inputs)
            self.meter.tokens += len(question.prompt.input_ids)
            with self.meter.stage("score"):
                sample = samples[question.id]
                scores[question.id] = score_text(
                    sample, text, self.suite.asking.prompt.labels(sample)
                )
        return scores

    def _spoken(self, question: Question, inputs: VisualInputs) -> str:
        seed = _seed(question.id)
        try:
            return spoken(self.pair, question.prompt, inputs, self._decoding, seed)
        except FloatingPointError as error:
            raise TrialFailed(f"sample {question.id}: {error} where its answer is said") from error

    def _inputs(self, sample: Sample) -> VisualInputs:
        try:
            medium = self.take(sample.media)
            return visual_inputs(self.pair.family, self.pair.processor, medium)
        except (MediaError, MediaRefused) as error:
            raise TrialFailed(
                f"{shown_path(sample.media[0])} could be read when suite {self.suite.name} was "
                f"prepared and cannot be now ({error}), so recipes would be asked different samples"
            ) from error

    @property
    def _decoding(self) -> Decoding:
        if self.suite.asking.decoding is None:
            raise RuntimeError(f"suite {self.suite.name} does not say how its answers are spoken")
        return self.suite.asking.decoding


def _seed(sample: str) -> int:
    """Of one sample alone, so that the order in which samples are asked moves no answer."""
    return int.from_bytes(hashlib.sha256(sample.encode()).digest()[:4])
