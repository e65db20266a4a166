"""The command that makes a pair: what it says and what it returns."""

import pytest

from merit_opt.cli import tiny_pair
from merit_opt.errors import UserError
from merit_opt.models.tiny.damage import Damage
from merit_opt.models.tiny.making import Made
from merit_opt.models.tiny.marks import Mark, require
from merit_opt.models.tiny.measure import Accuracy

ASKED = []


class Making:
    """Stands for the making: remembers what was asked, and makes what it is told to."""

    def __init__(self, lineage, course, out, progress):
        ASKED.append((lineage, course, out))
        self._progress = progress

    def make(self):
        self._progress("backbone", 1, 2)
        self._progress("backbone", 2, 2)
        row = {"base": Accuracy(TR=0.61, TP=0.9), "restored": Accuracy(TR=0.98, TP=0.97)}
        return Made((), {"vlm_planted_4_6": row})


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(tiny_pair, "Making", Making)
    ASKED.clear()


def test_the_options_are_the_lineage(tmp_path):
    told = ["--layers", "12", "--hidden", "104", "--seed", "5", "--out", str(tmp_path)]
    assert tiny_pair.main([*told, "--plant", "6,4", "--plant", "7+3,5:8"]) == 0
    lineage, course, out = ASKED[0]
    assert (lineage.layers, lineage.hidden, lineage.seed) == (12, 104, 5)
    assert lineage.planted == (Damage(((4, 6),)), Damage(((7,), (3, 5)), natural_decoys=(8,)))
    assert (course, out) == (tiny_pair.FULL, tmp_path)


def test_the_table_says_tr_and_tp_of_every_merge(tmp_path, capsys):
    assert tiny_pair.main(["--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "0.610 / 0.900" in said
    assert "0.980 / 0.970" in said


def test_a_refusal_is_one_sentence_and_a_failure(tmp_path, capsys, monkeypatch):
    def refuse(self):
        raise UserError("the backbone missed its mark")

    monkeypatch.setattr(Making, "make", refuse)
    assert tiny_pair.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: the backbone missed its mark\n"


def test_ctrl_c_says_that_the_work_is_kept(tmp_path, capsys, monkeypatch):
    def interrupt(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Making, "make", interrupt)
    assert tiny_pair.main(["--out", str(tmp_path)]) == 130
    assert "finished stages are kept" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["3,five", "3,,5", "3:", ":7", "3_5", "", "3+", "-3"])
def test_what_names_no_layers_is_refused_by_the_parser(tmp_path, capsys, wrong):
    with pytest.raises(SystemExit):
        tiny_pair.main(["--out", str(tmp_path), f"--plant={wrong}"])
    assert "expected layers as in 3,5 or 3+4 or 3,5:7, got" in capsys.readouterr().err


def test_marks_say_all_that_was_missed_and_nothing_else():
    marks = [Mark("TR", 0.5, 0.55, 0.7), Mark("TP", 0.8, 0.55, 0.7), Mark("tokens", 1.0, 0.99)]
    with pytest.raises(
        UserError,
        match=r"the VLM missed its mark: TR 0\.500, expected 0\.55 to 0\.7; TP 0\.800, expected",
    ) as refused:
        require("the VLM", marks, "look again")
    assert "tokens" not in str(refused.value)
    require("the VLM", marks[2:], "look again")
