"""All questions about one medium behind one visual prefix: the unit of work of the engine.

Rows are ``[prefix | suffix of question 1 | suffix of question 2 | ...]``. The prefix, up to the
last visual token, is computed once; a suffix sees the prefix and itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from merit_opt.models.families.family import VisualFeatures
from merit_opt.models.prompt import EncodedPrompt


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """What a sample is asked, or one of several things, encoded.

    Attributes:
        id: The sample's id.
        prompt: Token and position ids, the answer's own but the last one's among them.
        labels: Token ids of each label that competes to be the next token; none where the
            likelihood of an answer is read.
        answer: Token ids of that answer; none where labels compete.
        part: Which of the sample's questions it is, from 0.
    """

    id: str
    prompt: EncodedPrompt
    labels: tuple[tuple[int, ...], ...] = ()
    answer: tuple[int, ...] = ()
    part: int = 0

    @property
    def reads(self) -> int:
        """Of how many rows at its end the next token's distribution is read."""
        return max(1, len(self.answer))


@dataclass(frozen=True, eq=False, slots=True)
class Pack:
    """One sequence that answers several questions.

    Attributes:
        questions: In canonical order, that of their ids and parts.
        features: Of the medium they are about.
        prefix: Rows that all of them share.
        suffixes: Rows of each question alone.
        input_ids: int64 [rows].
        position_ids: int64 [axes, rows]; positions in a suffix are those of its own prompt.
        is_visual: bool [rows].
        hidden: bool [prefix], rows that no question's own rows see; None: there are none.
    """

    questions: tuple[Question, ...]
    features: VisualFeatures
    prefix: int
    suffixes: tuple[int, ...]
    input_ids: Tensor
    position_ids: Tensor
    is_visual: Tensor
    hidden: Tensor | None = None

    @property
    def rows(self) -> int:
        """Length of the sequence."""
        return self.prefix + sum(self.suffixes)

    @property
    def read_rows(self) -> Tensor:
        """int64 [reads]: the rows whose next token is read, question after question."""
        ends = (self.prefix + end for end in accumulate(self.suffixes))
        pairs = zip(ends, self.questions, strict=True)
        return torch.cat([torch.arange(end - question.reads, end) for end, question in pairs])

    @property
    def first_reads(self) -> list[int]:
        """Of each question: which of the rows read is its first."""
        return [0, *accumulate(q.reads for q in self.questions)][:-1]

    @property
    def attended(self) -> int:
        """Pairs of a query and a key over the sequence."""
        prefix = self.prefix * (self.prefix + 1) // 2
        return prefix + sum(n * self.prefix + n * (n + 1) // 2 for n in self.suffixes)

    def halves(self) -> tuple["Pack", "Pack"]:
        """Two packs of half the questions each.

        Raises:
            ValueError: There is but one.
        """
        if len(self.questions) < 2:
            raise ValueError("one question cannot be halved")
        middle = len(self.questions) // 2
        first, second = self.questions[:middle], self.questions[middle:]
        return (
            replace(pack(first, self.features), hidden=self.hidden),
            replace(pack(second, self.features), hidden=self.hidden),
        )


def pack(questions: Sequence[Question], features: VisualFeatures) -> Pack:
    """The questions about one medium as one sequence.

    Raises:
        RuntimeError: A prompt lacks positions, holds another medium than the features are of, or
            ends in its medium.
    """
    ordered = tuple(sorted(questions, key=lambda q: (q.id, q.part)))
    prompts = [q.prompt for q in ordered]
    for question in ordered:
        _require_whole(question, features)
    prefix = int(prompts[0].is_visual.nonzero()[-1]) + 1
    if any(not _same_prefix(prompts[0], p, prefix) for p in prompts):
        raise RuntimeError(f"question {ordered[0].id} and its companions share no visual prefix")
    suffixes = tuple(len(p.input_ids) - prefix for p in prompts)
    if any(n < q.reads for n, q in zip(suffixes, ordered, strict=True)):
        raise RuntimeError(f"a prompt about the medium of {ordered[0].id} ends in it")
    return Pack(
        questions=ordered,
        features=features,
        prefix=prefix,
        suffixes=suffixes,
        input_ids=_joined([p.input_ids for p in prompts], prefix),
        position_ids=_joined([p.position_ids for p in prompts], prefix),
        is_visual=_joined([p.is_visual for p in prompts], prefix),
    )


def packs_by_prefix(questions: Sequence[Question], features: VisualFeatures) -> list[Pack]:
    """As few packs as the questions about one medium fit into.

    Those before whose last visual token other words stand, as subtitles between frames do, share no
    prefix.
    """
    groups: dict[bytes, list[Question]] = {}
    for question in questions:
        ids, is_visual = question.prompt.input_ids, question.prompt.is_visual
        prefix = int(is_visual.nonzero()[-1]) + 1 if is_visual.any() else 0
        groups.setdefault(ids[:prefix].numpy().tobytes(), []).append(question)
    return [pack(group, features) for group in groups.values()]


def _require_whole(question: Question, features: VisualFeatures) -> None:
    prompt = question.prompt
    length = len(prompt.input_ids)
    if prompt.position_ids.ndim != 2 or prompt.position_ids.shape[1] != length:
        raise RuntimeError(
            f"question {question.id}: expected positions [axes, {length}], got "
            f"{list(prompt.position_ids.shape)}"
        )
    visual = int(prompt.is_visual.sum())
    sizes = [len(level) for level in (features.tokens, *features.deepstack)]
    if not visual or sizes != [visual] * len(sizes):
        raise RuntimeError(
            f"question {question.id} has {visual} visual tokens, its features {sizes}"
        )


def _same_prefix(one: EncodedPrompt, other: EncodedPrompt, prefix: int) -> bool:
    return (
        torch.equal(one.input_ids[:prefix], other.input_ids[:prefix])
        and torch.equal(one.position_ids[:, :prefix], other.position_ids[:, :prefix])
        and not other.is_visual[prefix:].any()
    )


def _joined(values: Sequence[Tensor], prefix: int) -> Tensor:
    return torch.cat([values[0][..., :prefix], *(v[..., prefix:] for v in values)], dim=-1)
