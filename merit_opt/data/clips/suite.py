"""The suite `clips`: rendered videos whose every event is known."""

import random
from collections.abc import Iterator
from pathlib import Path

from merit_opt.data.clips.library import REVISION, Clip, clip_library
from merit_opt.data.clips.questions import OPTIONS, ROLES, Question, draw_questions
from merit_opt.data.clips.render import event_spans
from merit_opt.data.media.frames import ALL_FRAMES
from merit_opt.data.progress import Progress
from merit_opt.data.prompts import LETTER_AFTER_OPTION
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Asking, Role, Roles, Suite
from merit_opt.errors import UserError

MOST_PER_CLIP: dict[Role, int] = {"TR": 17, "TP": 13}


def clips_suite(
    *,
    cache: Path,
    clips: int,
    seed: int,
    tr_per_clip: int,
    tp_per_clip: int,
    max_unusable: float,
    progress: Progress | None,
) -> Suite:
    """Letter questions about rendered clips, which are made at first use.

    Each letter is the right one equally often (to within one), overall and in each role.

    Args:
        cache: Where the clips are kept; safe to delete.
        clips: How many clips, at least 1.
        seed: Chooses events, looks, questions and letters; 0 or more.
        tr_per_clip: Temporal-reasoning questions a clip, 0 to 17.
        tp_per_clip: Temporal-perception questions a clip, 0 to 13.
        max_unusable: See `Suite`.
        progress: Called with (stage, done, total) while clips are rendered.

    Raises:
        UserError: A count or the seed is out of range, or the cache cannot be written.
    """
    counts: dict[Role, int] = {"TR": tr_per_clip, "TP": tp_per_clip}
    _check(clips, seed, counts)
    library = clip_library(cache=cache, clips=clips, seed=seed, progress=progress)
    answers = _answers(clips, counts, seed)
    samples = tuple(s for clip in library for s in _samples(clip, counts, answers, seed))
    return Suite(
        name="clips",
        revision=REVISION,
        samples=samples,
        asking=Asking(
            prompt=LETTER_AFTER_OPTION, frames=ALL_FRAMES, scorer="letter_logprob", permutations=1
        ),
        roles=Roles("kind", ROLES),
        aggregates=(),
        max_unusable=max_unusable,
    )


def _check(clips: int, seed: int, counts: dict[Role, int]) -> None:
    if clips < 1:
        raise UserError(f"the suite `clips` needs clips >= 1, got {clips}")
    if seed < 0:
        raise UserError(f"the suite `clips` needs seed >= 0, got {seed}: others are for training")
    for role, count in counts.items():
        if not 0 <= count <= MOST_PER_CLIP[role]:
            raise UserError(
                f"{role.lower()}_per_clip must lie in 0 to {MOST_PER_CLIP[role]}, got {count}: "
                "a clip has no more different questions than that; ask for more clips instead"
            )
    if not any(counts.values()):
        raise UserError(
            "the suite `clips` would have no question: tr_per_clip and tp_per_clip are both 0"
        )


def _answers(clips: int, counts: dict[Role, int], seed: int) -> dict[Role, Iterator[int]]:
    """For each role the indices of the right options in turn, balanced by construction."""
    rng = random.Random(f"letters/{seed}")
    start, answers = 0, dict[Role, Iterator[int]]()
    for role, count in counts.items():
        indices = [i % OPTIONS for i in range(start, start + clips * count)]
        start += len(indices)
        rng.shuffle(indices)
        answers[role] = iter(indices)
    return answers


def _samples(
    clip: Clip, counts: dict[Role, int], answers: dict[Role, Iterator[int]], seed: int
) -> Iterator[Sample]:
    rng = random.Random(f"questions/{seed}/{clip.id}")
    for role, count in counts.items():
        for question in draw_questions(clip.events, role=role, count=count, rng=rng):
            yield _sample(clip, question, next(answers[role]), rng)


def _sample(clip: Clip, question: Question, answer: int, rng: random.Random) -> Sample:
    options = list(question.distractors(rng))
    options.insert(answer, question.answer)
    return Sample(
        id=f"{clip.id}-{question.kind}-{question.subject + 1}",
        media=(clip.media,),
        question=question.text,
        options=tuple(options),
        answer=answer,
        categories=(("kind", question.kind),),
        group_id=clip.id,
        evidence=event_spans(clip.events, question.evidence),
    )
