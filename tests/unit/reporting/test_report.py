"""What a report says, of every kind of study."""

import json
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from merit_opt.reporting.blocks import Report, data
from merit_opt.reporting.facts import Flips
from merit_opt.reporting.frames import frames
from merit_opt.reporting.page import page
from merit_opt.reporting.report import DATA, PAGE, compose, write_report
from merit_opt.reporting.style import Drawn, drawn, styled
from merit_opt.reporting.summary import summary
from tests.reports import bare, facts, flip, result, study, trial, trials

GOLDEN = Path(__file__).parents[2] / "golden" / "report.json"
SECTIONS = ["outcome", "comparison", "recipe", "search", "frames", "cost", "reproduce"]
HOSTILE = "<script>alert(1)</script>\"'&$x_{$"


def page_of(report) -> str:
    """The page with figures that are drawn once, in light."""
    shown = {p.name: Drawn({}, {"light": ("png", drawn_once(p))}) for p in report.pictures}
    return page(report, shown)


def drawn_once(picture) -> bytes:
    with styled("light"):
        out = BytesIO()
        picture.drawn().savefig(out, format="png", dpi=20)
    return out.getvalue()


def words(report) -> str:
    return json.dumps(data(report), ensure_ascii=False)


def test_the_data_of_a_fixed_study_is_what_it_was():
    held = data(compose(facts(), (facts("other"),)))
    assert json.loads(json.dumps(held)) == json.loads(GOLDEN.read_text())


def test_every_section_is_there_and_others_stand_beside_only_where_asked_for():
    alone = [s.id for s in compose(facts()).sections]
    assert alone == SECTIONS
    beside = [s.id for s in compose(facts(), (facts("other"),)).sections]
    assert beside == ["outcome", "studies", *SECTIONS[1:]]


def test_every_figure_and_table_is_a_file_in_every_form(written):
    report = compose(facts(), (facts("other"),))
    figures = {path.name for path in (written / "figures").iterdir()}
    assert figures == {f"{p.name}.{k}" for p in report.pictures for k in ("png", "svg", "pdf")}
    tables = {path.name for path in (written / "tables").iterdir()}
    assert tables == {f"{t.name}.{k}" for t in report.tables for k in ("csv", "md", "tex")}
    names = [p.name for p in report.pictures] + [t.name for t in report.tables]
    assert all(re.fullmatch(r"[\w-]+", name) for name in names)
    assert json.loads((written / DATA).read_text())["schema"] == 1


def test_a_figure_is_the_same_however_often_it_is_drawn(written):
    pictures = [p for p in compose(facts()).pictures if p.name in ("layers", "sample-01")]
    assert len(pictures) == 2
    for picture in pictures:
        for kind, content in drawn(picture).files.items():
            assert content == (written / "figures" / f"{picture.name}.{kind}").read_bytes(), kind


def test_what_an_earlier_report_left_goes_and_what_others_put_there_stays(tmp_path, monkeypatch):
    blank = Drawn({"png": b"PNG"}, {"light": ("png", b"PNG")})
    monkeypatch.setattr("merit_opt.reporting.report.drawn", lambda picture: blank)
    write_report(compose(facts(), (facts("other"),)), tmp_path, lambda name, done, total: None)
    (tmp_path / "figures" / "mine.png").touch()
    fewer = compose(replace(facts(), flips=Flips()))
    write_report(fewer, tmp_path, lambda name, done, total: None)
    figures = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert figures == {"mine", *(picture.name for picture in fewer.pictures)}
    tables = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert tables == {table.name for table in fewer.tables}


def test_the_page_names_nothing_outside_itself(written):
    found = (written / PAGE).read_text()
    assert not re.search(r"""(src|href|srcset)=["'](?!data:|#)""", found)
    assert not re.search(r"@import|url\(|<script|https?:", found)
    assert len(found) < 3_000_000


def test_whatever_a_study_says_is_text():
    told = study(name=HOSTILE)
    hostile = replace(
        facts(HOSTILE),
        study=told,
        flips=Flips((flip(1, HOSTILE),), HOSTILE),
        commands={"search": HOSTILE, "evaluate": HOSTILE, "attribute": HOSTILE},
        missing=(HOSTILE,),
    )
    found = page_of(compose(hostile, (facts(HOSTILE),)))
    assert "<script" not in found
    assert found.count("&lt;script&gt;") > 8


def test_not_significant_is_said_in_these_words():
    told = study()
    found = result(told)
    found["confirm"]["difference"]["TR"] |= {"p_holm": 0.3, "verdict": "not significant"}
    sentence = next(
        s
        for s in data(compose(replace(facts(), result=found)))["sections"][0]["blocks"]
        if "winner" in s["text"]
    )
    assert "p = 0.3 after Holm's correction, not significant" in sentence["text"]


def test_a_control_that_may_be_as_good_is_said_to_be():
    found = result(study())
    found["confirm"]["controls"][0]["gap"] = {"estimate": 0.01, "low": -0.02, "high": 0.04}
    assert "(95 % interval of the difference -0.020 to +0.040, which includes 0)" in words(
        compose(replace(facts(), result=found))
    )


def test_a_winner_that_lies_below_a_control_is_said_to():
    found = result(study())
    found["confirm"]["controls"][0]["gap"] = {"estimate": -0.05, "low": -0.09, "high": -0.01}
    assert "Its objective lies below the best fixed recipe (uniform:0.5) by 0.050 (" in words(
        compose(replace(facts(), result=found))
    )


def test_methods_that_were_not_run_are_named():
    hint = {"attribute": "merit-opt attribute recipe=study:s method=scan"}
    found = words(compose(replace(facts(), commands=hint)))
    assert "method=gradient, leave_out. To add one: merit-opt attribute recipe=study:s " in found


def test_strips_without_heat_among_others_say_why_and_what_adds_it():
    bare_one = replace(flip(5), method="")
    hint = {"attribute_frames": "merit-opt attribute recipe=study:s method=frames"}
    shown = replace(facts(), flips=Flips((flip(1), bare_one)), commands=hint)
    found = words(Report("", "", (frames(shown),), ""))
    assert "1 of 2 shown was not among the samples that attribution looked at" in found
    assert "merit-opt attribute recipe=study:s method=frames method.samples=N" in found


def test_a_study_that_has_not_ended_says_so_and_how_to_end_it():
    left = bare(study(), commands={"resume": "merit-opt search seed=3"})
    found = words(compose(left))
    assert "The study has not ended" in found
    assert "merit-opt search seed=3" in found
    assert page_of(compose(left))


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("nothing", "no trial was begun"),
        ("pruned", "2 PRUNED"),
        ("failed", "2 FAIL"),
    ],
)
def test_a_study_without_a_complete_trial_has_a_page_that_says_why(kept, said):
    state = {"pruned": "PRUNED", "failed": "FAIL"}.get(kept)
    blank = {"state": state, "value": None, "values": (), "metrics": {}, "why": "x"}
    told = tuple(trial(i, t.recipe, **blank) for i, t in enumerate(trials()[:2])) if state else ()
    found = study(told)
    report = compose(bare(replace(found, states={state: len(told)} if state else {})))
    assert said in words(report)
    assert page_of(report)


def test_a_study_of_one_trial_has_a_page():
    report = compose(bare(study(trials()[:1])))
    assert {p.name for p in report.pictures} == {"layers", "trials", "gains", "cost"}
    assert "1 trial was run, which is a control." in words(report)
    assert page_of(report)


def test_a_result_of_one_control_says_one_thing_of_controls():
    told = study(trials()[:1])
    found = result(told)
    found["confirm"] |= {"controls": [], "random_layers": None}
    said = words(Report("", "", (summary(bare(told, result=found)),), ""))
    assert "1 trial was run, which is a control." in said
    assert "It is a control itself, and no other was measured on these questions." in said
    assert "No control was" not in said


def test_a_study_of_two_gains_draws_the_front_that_optuna_has():
    told = tuple(
        replace(t, values=(t.metrics.get("TR", 0.0), t.metrics.get("TP", 0.0))) for t in trials()
    )
    two = replace(study(told), front=(19, 4))
    report = compose(bare(two))
    gains = next(p for p in report.pictures if p.name == "gains")
    assert gains.data.front == (19, 4)
    assert page_of(report)


def test_a_result_without_a_final_comparison_is_told():
    found = {k: v for k, v in result(study()).items() if k != "confirm"}
    assert "no final comparison" in words(compose(replace(facts(), result=found)))


def test_what_is_missing_is_told_and_what_adds_it():
    left = bare(
        study(),
        result=result(study()),
        commands={"attribute": "merit-opt ATTRIBUTE", "evaluate": "merit-opt EVALUATE"},
        missing=("The cache is gone.",),
        flips=Flips(missing="No media."),
    )
    found = words(compose(left))
    for said in ("merit-opt ATTRIBUTE", "merit-opt EVALUATE", "The cache is gone."):
        assert said in found
    assert "The samples files are missing" in found


def test_studies_of_different_depth_are_compared_without_their_layers():
    from merit_opt.recipe.constructors import attention

    deep = study(tuple(replace(t, recipe=attention(8, {1: 1.0})) for t in trials()))
    report = compose(facts(), (bare(deep),))
    assert "studies-layers" not in {p.name for p in report.pictures}
    assert "Their models differ in depth" in words(report)
