"""From a sample to the questions that the model reads."""

from merit_opt.data.prompts import between_frames, said
from merit_opt.data.sample import Sample
from merit_opt.data.subtitles import cues_at
from merit_opt.data.suite import Asking
from merit_opt.evaluation.scorers import PACKED, Asked, Scorer
from merit_opt.models.attention import smallest_window
from merit_opt.models.families.family import VisualFeatures
from merit_opt.models.labels import label_tokens
from merit_opt.models.pack import Question
from merit_opt.models.pair import ModelPair
from merit_opt.models.prompt import answer_tokens, encode_prompt, placeholder_in


class CannotAsk(Exception):
    """A sample cannot be put to this model, whatever the recipe; the message says why."""


class Questioner:
    """Encodes the questions of one pair."""

    def __init__(self, pair: ModelPair) -> None:
        self._pair = pair
        self._labels: dict[tuple[str, ...], tuple[tuple[int, ...], ...]] = {}

    def questions(
        self, sample: Sample, asking: Asking, features: VisualFeatures
    ) -> list[Question]:
        """The questions that a sample becomes, in the order of their parts.

        Raises:
            CannotAsk: Its words, its length or its kind of answer forbid it.
            UserError: The tokenizer has no token for a label, or there are too few letters.
        """
        scorer = PACKED.get(asking.scorer)
        if scorer is None:
            asked = [Asked(sample)]
        elif sample.options:
            asked = _asked(scorer, sample, asking)
        else:
            raise CannotAsk("its answer is a number, which only suite.scorer=generate reads")
        return [self._encoded(one, part, asking, features) for part, one in enumerate(asked)]

    def _encoded(
        self, asked: Asked, part: int, asking: Asking, features: VisualFeatures
    ) -> Question:
        sample, shown, times = asked.sample, features.prompt, features.times
        seen, between = cues_at(sample.subtitles, times), tuple[str, ...]()
        if asking.prompt.interleaved and shown.kind == "image" and shown.entries == len(times):
            seen, between = (), between_frames(seen, times)
        text = said(asking.prompt, sample, seen)
        answer = self._answer(asked)
        words = "\n".join((*between, text))
        if (token := placeholder_in(self._pair.processor, words)) is not None:
            raise CannotAsk(
                f"its prompt holds {token}, which stands for media and for nothing else here"
            )
        encoded = encode_prompt(self._pair, asking.prompt, text, features, answer[:-1], between)
        if (length := len(encoded.input_ids)) > self._most_tokens:
            raise CannotAsk(
                f"its prompt has {length} tokens and this model reads {self._most_tokens}; ask for "
                "fewer frames or smaller ones"
            )
        called = asking.prompt.labels(sample) if asking.scorer == "letter_logprob" else ()
        return Question(sample.id, encoded, self._tokens(called), answer, part)

    def _answer(self, asked: Asked) -> tuple[int, ...]:
        if asked.answer is None:
            return ()
        if (token := placeholder_in(self._pair.processor, asked.answer)) is not None:
            raise CannotAsk(f"an option holds {token}, which stands for media")
        if not (tokens := answer_tokens(self._pair.processor, asked.answer)):
            raise CannotAsk("an option has no words, so it has no likelihood")
        return tokens

    def _tokens(self, labels: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
        if labels not in self._labels:
            self._labels[labels] = label_tokens(self._pair.processor, labels)
        return self._labels[labels]

    @property
    def _most_tokens(self) -> int:
        """Of one prompt: what positions and every attention window hold."""
        decoder = self._pair.model.get_decoder()
        positions: int = decoder.config.max_position_embeddings
        return min(positions, smallest_window(decoder) or positions)


def _asked(scorer: Scorer, sample: Sample, asking: Asking) -> list[Asked]:
    """In one order alone where no order is seen: where the medium shows the options, not the text."""
    asked = scorer.asked(sample, asking.permutations)
    is_seen = len({said(asking.prompt, one.sample, ()) for one in asked}) > 1
    return asked if is_seen else scorer.asked(sample, 1)
