from pathlib import Path

from merit_opt.data.sample import Media, Sample
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.outcome import ALL, most_biased, outcome, rows_told, to_dict
from tests.suites import made_up

ROLES = {"order": "TR", "colour": "TP"}
LETTERS = "ABCD"


def sample(number, kind="order", options=4):
    media = (Media(Path(f"{number}.mp4"), f"{number}"),)
    names = tuple(f"o{i}" for i in range(options))
    return Sample(f"s{number}", media, "?", names, 0, (("kind", kind),), f"g{number}")


def evaluation(suite, letters):
    """A letter each; `-` is an answer that could not be read."""

    def score(letter):
        if letter == "-":
            return Score(None, why="none", text="…")
        return Score(float(letter == "A"), letter)

    ids = tuple(s.id for s in suite.samples)
    return Evaluation(suite.digest, "recipe", ids, tuple(score(x) for x in letters))


def found(suite, base, merged):
    sides = evaluation(suite, base), evaluation(suite, merged)
    return outcome(*sides, suite, PenalisedGain("accuracy", 2.0), 0), *sides


def test_every_number_is_over_the_samples_that_both_sides_answered():
    suite = made_up([*map(sample, range(4)), sample(4, "colour"), sample(5, "colour")], ROLES)
    result, *_ = found(suite, "AABBAA", "A-BBAB")
    assert result.n == {"TR": 4, "TP": 2, ALL: 6}
    assert result.base == {"TR": 1 / 3, "TP": 1.0, ALL: 3 / 5}
    assert result.merged == {"TR": 1 / 3, "TP": 0.5, ALL: 2 / 5}
    assert {role: d.n for role, d in result.difference.items()} == {"TR": 3, "TP": 2, ALL: 5}
    assert result.objective == -2.0 * 0.5
    for role, base, merged in list(rows_told(result))[:3]:
        assert abs(merged - base - result.difference[role].estimate) < 1e-12


def test_a_suite_of_one_role_has_no_objective():
    suite = made_up(map(sample, range(4)), ROLES)
    result, base, merged = found(suite, "AABB", "AAAB")
    assert result.objective is None
    assert "objective" not in to_dict(result, base, merged, suite)["scores"]


def test_accuracy_above_chance_is_nothing_for_a_guess_and_one_for_all_right():
    suite = made_up(map(sample, range(4)), ROLES)
    result, *_ = found(suite, "ABCD", "AAAA")
    assert result.above_chance == (0.0, 1.0)


def test_bias_is_told_of_the_most_common_number_of_options():
    suite = made_up([*map(sample, range(4)), sample(4, options=3)], ROLES)
    told = most_biased(evaluation(suite, "ABBBC"), suite)
    assert (told.label, told.n) in {("B", 4), ("A", 4)}
    assert abs(told.share.bias) == 0.75


def test_numbers_alone_have_no_bias():
    suite = made_up(map(sample, range(2)), ROLES)
    assert most_biased(evaluation(suite, "--"), suite) is None


def test_accuracy_above_chance_is_over_the_samples_that_both_sides_answered():
    suite = made_up(map(sample, range(4)), ROLES)
    result, *_ = found(suite, "ABBB", "AA--")
    assert result.above_chance == ((0.5 - 0.25) / 0.75, 1.0)
