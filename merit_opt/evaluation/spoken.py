"""Scores of answers in a model's own words."""

import hashlib
from dataclasses import dataclass

from merit_opt.data.media.medium import read_medium
from merit_opt.data.media.video import MediaError
from merit_opt.data.suite import Decoding, Suite
from merit_opt.evaluation.evaluation import Score
from merit_opt.evaluation.meter import Meter
from merit_opt.evaluation.scorers import score_text
from merit_opt.models.families.family import VisualInputs
from merit_opt.models.families.inputs import visual_inputs
from merit_opt.models.generate import spoken
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair


@dataclass(frozen=True, slots=True)
class Speaking:
    """Lets the live model answer a pack's questions one after another.

    Attributes:
        pair: With the live model.
        suite: Whose samples they are.
        meter: Is told what it costs.
    """

    pair: ModelPair
    suite: Suite
    meter: Meter

    def __call__(self, pack: Pack) -> dict[str, Score]:
        """Sample id -> score."""
        samples = {s.id: s for s in self.suite.only(q.id for q in pack.questions).samples}
        try:
            with self.meter.stage("load"):
                inputs = self._inputs(pack)
        except MediaError as error:
            return {q.id: Score(value=None, why=str(error)) for q in pack.questions}
        scores: dict[str, Score] = {}
        for question in pack.questions:
            with self.meter.stage("forward"):
                text = spoken(
                    self.pair, question.prompt, inputs, self._decoding, _seed(question.id)
                )
            self.meter.tokens += len(question.prompt.input_ids)
            with self.meter.stage("score"):
                scores[question.id] = score_text(samples[question.id], text)
        return scores

    def _inputs(self, pack: Pack) -> VisualInputs:
        (sample,) = self.suite.only([pack.questions[0].id]).samples
        medium = read_medium(sample.media, self.suite.asking.frames)
        return visual_inputs(self.pair.family, self.pair.processor, medium)

    @property
    def _decoding(self) -> Decoding:
        if self.suite.asking.decoding is None:
            raise RuntimeError(f"suite {self.suite.name} does not say how its answers are spoken")
        return self.suite.asking.decoding


def _seed(sample: str) -> int:
    """Of one sample alone, so that the order in which samples are asked moves no answer."""
    return int.from_bytes(hashlib.sha256(sample.encode()).digest()[:4])
