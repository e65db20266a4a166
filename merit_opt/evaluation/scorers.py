"""From letter log-probabilities to a score."""

from collections.abc import Sequence

from merit_opt.data.sample import LETTERS, Sample
from merit_opt.evaluation.evaluation import Score

LETTER_SCORER = "letter-log-probability/1"


def score_letters(sample: Sample, log_probabilities: Sequence[float]) -> Score:
    """The most probable letter against the right one; a tie goes to the earlier letter.

    Args:
        sample: With as many options as there are numbers.
        log_probabilities: Natural logs over the options, in their order.
    """
    chosen = max(range(len(sample.options)), key=lambda i: log_probabilities[i])
    return Score(
        value=1.0 if chosen == sample.answer else 0.0,
        answer=LETTERS[chosen],
        log_probability=float(log_probabilities[sample.answer]),
    )
