from dataclasses import replace
from pathlib import Path

from merit_opt.data.sample import Media, Sample
from merit_opt.data.suite import Aggregate
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.outcome import outcome, rows_told
from tests.suites import made_up

RIGHT, WRONG, NONE = Score(1.0, "A"), Score(0.0, "B"), Score(None, why="none")


def test_every_row_of_the_table_compares_the_same_samples():
    media = (Media(Path("clip.mp4"), "0"),)
    samples = [Sample(f"s{i}", media, "?", ("a", "b"), 0, (), f"g{i}") for i in range(4)]
    suite = replace(made_up(samples, {}), aggregates=(Aggregate("accuracy", "mean"),))
    ids = tuple(s.id for s in suite.samples)
    base = Evaluation(suite.digest, "base", ids, (RIGHT, WRONG, WRONG, NONE))
    merged = Evaluation(suite.digest, "recipe", ids, (RIGHT, WRONG, NONE, RIGHT))
    found = outcome(base, merged, suite, PenalisedGain("accuracy", 2.0), 0)
    assert list(rows_told(found)) == [
        ("other", 0.5, 0.5),
        ("all", 0.5, 0.5),
        ("accuracy", 0.5, 0.5),
    ]
    assert (found.n["all"], found.difference["all"].n) == (4, 2)
    assert [(side.n, side.unscored) for side in found.aggregates[0]] == [(2, 2), (2, 2)]
