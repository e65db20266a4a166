"""What attribution to frames found over all samples, in words, figures and tables."""

import pytest

from merit_opt.reporting.frame_evidence import frame_evidence
from merit_opt.reporting.style import styled
from tests.reports import frames_run, gap


def run(**changes):
    found = frames_run()
    return {**found, "summary": {**found["summary"], **changes}}


def shift(low, p):
    found = run()["summary"]["evidence"][0]
    moved = {"estimate": 0.1, "low": low, "high": 0.2, "p": p, "n": 8}
    return run(evidence=[{**found, "share": {**found["share"], "shift": moved}}])


def words(found):
    return " ".join(b.words for b in frame_evidence(found) if hasattr(b, "words"))


def pictures(found):
    return {b.name: b for b in frame_evidence(found) if hasattr(b, "draw")}


def test_everything_that_the_run_says_is_drawn_and_in_a_table():
    assert pictures(run()).keys() == {
        "frames-evidence", "frames-shape", "frames-curves", "frames-areas"
    }  # fmt: skip
    tables = [b.table.name for b in frame_evidence(run()) if hasattr(b, "table")]
    assert tables == [
        "frames-share", "frames-pointing", "frames-shape", "frames-curves", "frames-agreement"
    ]  # fmt: skip


def test_the_share_on_evidence_stands_against_chance_with_interval_p_and_n():
    said = words(run())
    for model in ("merged", "base"):
        assert f"Of the {model} model's positive attribution a share of 0.600 lies on" in said
    assert "chance gives 0.450 (n = 8). Above chance by occlusion, hidden +0.150 " in said
    assert "+0.050 to +0.250, p = 0.01): significant by 1 of 1 methods" in said


def test_a_shift_that_is_not_significant_is_called_so():
    assert "does not change significantly from base to merged, by any of 1" in words(run())
    assert "does not change significantly" in words(shift(low=0.01, p=0.06))


def test_a_shift_that_is_significant_stands_with_its_interval_and_p():
    said = words(shift(low=0.01, p=0.02))
    assert "by occlusion, hidden +0.100 (95 % interval +0.010 to +0.200, p = 0.02)" in said


def test_a_run_that_kept_areas_alone_says_that_its_curves_are_not_drawn():
    old = run()
    del old["summary"]["points"]
    assert "kept the areas alone" in words(old)
    assert "frames-curves" not in pictures(old)
    assert "frames-areas" in pictures(old)


def test_checks_that_fail_are_counted_as_such():
    assert "By 1 of these 2 checks" in words(run())
    wrong = {"area": 0.6, "random": 0.5, "difference": {**gap(0.15), "p": 0.01, "n": 8}}
    areas = run()["summary"]["curves"][0] | {"deletion": wrong, "insertion": wrong}
    assert "By 1 of these 2 checks" in words(run(curves=[areas]))


def test_without_known_evidence_it_says_where_attribution_lies():
    found = run(evidence=[])
    assert "Which frames the questions need is not known here" in words(found)
    assert "frames-shape" in pictures(found)
    assert "frames-evidence" not in pictures(found)


def test_one_model_alone_has_no_shift():
    def alone(mass):
        return {model: own for model, own in mass.items() if model == "base"}

    found = run()["summary"]
    (evidence,), (shape,) = found["evidence"], found["shape"]
    one = run(
        evidence=[
            {
                **evidence,
                "share": alone(evidence["share"]),
                "pointing": alone(evidence["pointing"]),
            }
        ],
        shape=[{**shape, "entropy": alone(shape["entropy"]), "centre": alone(shape["centre"])}],
        redrawn=[],
    )
    assert "from base to merged" not in words(one)
    assert len(pictures(one)["frames-evidence"].data.panels) == 2
    assert "frames-shape" not in pictures(one)


def test_of_nothing_measured_there_is_no_picture_and_no_sentence():
    found = run()["summary"]
    none = {model: {"mean": None, "n": 0, "above_chance": None} for model in ("base", "merged")}
    unknown = {**none, "shift": None}
    (areas,) = found["curves"]
    bare = {"area": None, "random": None, "difference": None}
    one = run(
        evidence=[{**found["evidence"][0], "share": unknown, "pointing": unknown}],
        shape=[{**found["shape"][0], "entropy": unknown, "centre": unknown}],
        curves=[{**areas, "deletion": bare, "insertion": bare}],
        points=[],
    )
    assert pictures(one) == {}
    assert "checks" not in words(one)
    assert "from base to merged" not in words(one)


@pytest.mark.parametrize(
    "name", ["frames-evidence", "frames-shape", "frames-curves", "frames-areas"]
)
def test_a_line_or_a_mark_is_drawn_for_every_number(name):
    picture = pictures(run())[name]
    with styled("light"):
        figure = picture.drawn()
    shown = sum(len(axis.lines) for axis in figure.axes)
    if name == "frames-curves":
        methods = {li.label for *_, lines in picture.data.panels for li in lines} - {
            "random order"
        }
        assert shown == 2 * len(methods) * len(picture.data.panels)
    else:
        assert shown == sum(2 * len(panel.names) + 1 for panel in picture.data.panels)
