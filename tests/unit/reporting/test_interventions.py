"""Panels and tables of what was measured on layers."""

import pytest
from matplotlib.colors import to_rgba

from merit_opt.attribution.contribution import contributions
from merit_opt.attribution.layer_sets import contrasts
from merit_opt.reporting.blocks import Picture
from merit_opt.reporting.claims import masking
from merit_opt.reporting.depth import depth
from merit_opt.reporting.facts import Attribution
from merit_opt.reporting.figures.differences import Differences, draw_differences
from merit_opt.reporting.figures.layers import Profiles, Strip, draw_profiles
from merit_opt.reporting.interventions import panels, scans, summary_tables
from merit_opt.reporting.style import styled
from merit_opt.reporting.tables import NONE
from tests.reports import LAYERS, bare, study

ROLES = ("TR", "TP")


def masks(model):
    return [
        {
            "variant": "zero",
            "model": model,
            "layer": layer,
            "part": "attention",
            "head_group": None,
            "role": role,
            "difference": -0.1 * layer,
            "low": -0.1 * layer - 0.01,
            "high": -0.1 * layer + 0.01,
            "p": 0.0001,
            "unit": "accuracy",
        }
        for layer in range(4)
        for role in ROLES
    ]


def sets(**counts):
    kinds = {"selected": 1, **counts}
    return [
        {
            "variant": "zero",
            "model": "merged",
            "part": "attention",
            "set": kind,
            "draw": draw,
            "role": role,
            "difference": -0.5 if kind == "selected" else -0.01 * draw,
            "unit": "accuracy",
        }
        for kind, count in kinds.items()
        for draw in range(count)
        for role in ROLES
    ]


def table(name, **summary):
    runs = {"methods": {"mask": {"summary": summary}}}
    tables = {t.name: t for t in summary_tables(Attribution(runs=runs))}
    return tables[f"attribution-{name}"]


def shown(found):
    keys = [column.key for column in found.columns]
    return [dict(zip(keys, row, strict=True)) for row in found.shown]


@pytest.mark.parametrize(("masked", "other"), [("base", "merged"), ("merged", "base")])
def test_a_model_that_was_not_masked_is_a_dash(masked, other):
    first, *_ = shown(table("contributions", contributions=contributions(masks(masked), 0)))
    assert first[masked] == "+0.150"
    assert (first[other], first["difference"]) == (NONE, NONE)


def test_sets_that_could_not_be_drawn_are_dashes():
    drawn, other = shown(table("sets", sets=contrasts(sets(random=20))))
    assert (drawn["against"], drawn["sets"], drawn["failed"]) == ("random layers", "20", "0")
    assert (drawn["p"], drawn["verdict"]) == ("0.048", "significant")
    assert (other["against"], other["sets"]) == ("unselected layers", "0")
    assert (other["mean_TR"], other["p"], other["verdict"]) == (NONE, NONE, NONE)


def test_sets_that_failed_are_counted_beside_the_p_that_counts_them():
    lost = {"variant": "zero", "model": "merged", "part": "attention", "set": "random"}
    found = table("sets", sets=contrasts(sets(random=18), [lost, lost]))
    drawn, _ = shown(found)
    assert (drawn["sets"], drawn["failed"], drawn["p"]) == ("18", "2", "0.14")
    assert drawn["verdict"] == "not significant"
    assert "2 sets could not be measured" in found.note
    assert drawn["least_p"] == "0.048"


def test_sets_too_few_for_any_p_to_be_significant_are_called_so():
    drawn, other = shown(table("sets", sets=contrasts(sets(random=20, unselected=5))))
    assert (other["p"], other["least_p"], other["verdict"]) == ("0.17", "0.17", "too few sets")
    assert drawn["verdict"] == "significant"


@pytest.mark.parametrize(
    ("count", "failed", "said"),
    [
        (20, 0, "(p = 0.048, significant)"),
        (18, 2, "(p = 0.14, not significant)"),
        (5, 0, "(p = 0.17, too few sets)"),
    ],
)
def test_the_papers_claim_on_masks_is_judged_by_the_numbers(count, failed, said):
    lost = {"variant": "zero", "model": "merged", "part": "attention", "set": "random"}
    summary = {"sets": contrasts(sets(random=count), [lost] * failed)}
    words = masking(Attribution(runs={"methods": {"mask": {"summary": summary}}}))
    assert said in words
    judged = {
        20: "is supported by this mask.",
        18: "is not supported.",
        5: "cannot be tested, as there are too few sets.",
    }
    assert words.endswith(judged[count])


def changed(method, layer, coefficient):
    place = {
        "method": method,
        "variant": "x",
        "model": "base",
        "layer": layer,
        "part": "attention",
    }
    return place | {"role": "TR", "difference": 0.1, "coefficient": coefficient}


def test_a_layer_left_out_is_drawn_whatever_its_own_coefficient():
    rows = [changed("leave_out", i, c) for i, c in ((3, 1.0), (5, 0.9), (7, 0.8))]
    ((_, panel),) = panels(rows)
    assert panel.series[0].layers == (3, 5, 7)


def test_a_scan_is_drawn_beside_the_recipe_at_its_greatest_coefficient_and_says_which():
    ((_, panel),) = panels([changed("scan", i, c) for i in range(2) for c in (0.25, 0.5)])
    assert panel.series[0].layers == (0, 1)
    assert panel.title.endswith("at coefficient 0.5")


def test_a_scan_of_several_coefficients_has_a_panel_for_each_on_one_scale():
    rows = [changed("scan", i, c) for c in (1.0, 0.25, 0.5) for i in range(2)]
    ((part, found),) = scans(rows).items()
    assert part == "attention"
    assert [p.title.rpartition(" ")[2] for p in found] == ["0.25", "0.5", "1"]
    assert [p.series[0].layers for p in found] == [(0, 1)] * 3
    assert len({p.scale for p in found}) == 1
    assert found[0].scale
    assert scans(rows[:2]) == {}


@pytest.mark.parametrize(("p", "said"), [(0.049, "significant"), (0.059, "not significant")])
def test_what_is_not_significant_by_p_is_called_so_though_its_interval_leaves_out_zero(p, said):
    found = contributions([*masks("base"), *masks("merged")], 0)[:1]
    found[0]["difference"] = {"estimate": 0.124, "low": 0.026, "high": 0.225, "p": p, "n": 4}
    (row,) = shown(table("contributions", contributions=found))
    assert row["verdict"] == said


def test_a_rank_among_sets_that_is_not_significant_is_called_so():
    even = [row | {"difference": -0.1} for row in sets(random=20)]
    found = table("sets", sets=contrasts(even))
    row, _ = shown(found)
    assert (row["p"], row["verdict"]) == ("1", "not significant")
    assert row["least_p"] == "0.048"


def test_a_mark_is_filled_by_the_verdict_that_the_table_gives():
    ends = {"estimates": (0.1, 0.1), "lows": (0.05, 0.05), "highs": (0.2, 0.2)}
    verdicts = ("significant", "not significant")
    names = {"names": ("a", "b"), "verdicts": verdicts, "unit": "x", "groups": ("TR", "TR")}
    with styled("light"):
        figure = draw_differences(Differences(**ends, **names))
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    empty = [to_rgba(m.get_markerfacecolor()) != to_rgba(m.get_color()) for m in marks]
    assert empty == [False, True]


def test_masks_of_both_models_are_drawn_on_one_scale():
    masked = [*masks("base"), *(r | {"difference": -5.0} for r in masks("merged"))]
    found = tuple(panel for _, panel in panels([{"method": "mask", **row} for row in masked]))
    with styled("light"):
        figure = draw_profiles(Profiles(4, (), (Strip("attention", (None,) * 4),), found))
    first, second = figure.axes[1:3]
    assert first.get_ylim() == second.get_ylim()
    assert first.get_ylim()[0] < -5.0


def measured_on(**samples):
    places = {m: {"suite": "mini", "split": "all", "samples": s} for m, s in samples.items()}
    rows = [changed(method, i, 0.5) for method in samples for i in range(LAYERS)]
    runs = {"methods": {method: {"provenance": own} for method, own in places.items()}}
    held = bare(study(), attribution=Attribution(layers=rows[:-1], runs=runs))
    picture = next(b for b in depth(held).blocks if isinstance(b, Picture) and b.name == "layers")
    return [panel.title.partition("\n")[2] for panel in picture.data.panels]


def test_a_panel_says_where_it_shows_fewer_layers_or_other_samples_than_those_beside_it():
    assert measured_on(scan="abc", gradient="abc") == ["", "5 of 6 layers"]
    assert measured_on(scan="abc", gradient="def") == [
        "suite mini, all, samples abc",
        "5 of 6 layers · suite mini, all, samples def",
    ]
