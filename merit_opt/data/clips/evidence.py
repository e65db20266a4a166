"""Where a rendered clip shows what a question needs: the ground truth of frame attribution."""

from merit_opt.data.clips.library import clip_of
from merit_opt.data.clips.questions import questions_about
from merit_opt.data.clips.scene import Events
from merit_opt.data.sample import Sample
from merit_opt.errors import UserError


def sample_events(sample: Sample) -> Events:
    """The events of the clip that a sample is about."""
    return clip_of(sample.media[0]).events


def evidence_events(sample: Sample) -> tuple[int, ...]:
    """Indices of the events that must be seen to answer, ascending.

    They are the event that holds the answer, the one that the question names, and every one
    that is counted on the way.

    Raises:
        UserError: The sample is not one of the suite `clips`.
    """
    asked = (sample.category("kind"), sample.question, _right(sample))
    for question in questions_about(sample_events(sample)):
        if (question.kind, question.text, question.answer) == asked:
            return question.evidence
    raise UserError(
        f"sample {sample.id} asks nothing that its clip can answer; "
        "the evidence is only known for the suite `clips`"
    )


def _right(sample: Sample) -> str:
    return sample.options[sample.answer] if isinstance(sample.answer, int) else ""


def evidence_frames(sample: Sample) -> tuple[int, ...]:
    """Indices of the frames of those events, ascending."""
    events = sample_events(sample)
    return tuple(
        frame
        for index in evidence_events(sample)
        for frame in range(events[index].first_frame, events[index].last_frame + 1)
    )
