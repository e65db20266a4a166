"""The console script itself: verbs, help, versions."""

import re
import subprocess
import sys

import pytest

from merit_opt.cli import conf_dir
from merit_opt.cli.main import VERBS

HEAVY = {"torch", "mlflow", "optuna", "transformers"}

ANSWERED = """
import sys, time
from merit_opt.cli.main import run
try:
    code = run(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
seconds = time.process_time()
print(*sorted(sys.modules.keys() & {modules}), file=sys.stderr)
print(seconds, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("line", ["--help", "", "search --help"])
def test_help_answers_at_once_and_loads_no_library(line):
    code = ANSWERED.replace("{modules}", repr(HEAVY))
    command = [sys.executable, "-c", code, *line.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    loaded, seconds = done.stderr.splitlines()[-2:]
    assert (done.returncode, loaded) == (0, "")
    assert float(seconds) < 1.0 if " " not in line else float(seconds) < 3.0
    assert "tracking: mlflow, none" in done.stdout if " " in line else "verbs:" in done.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_lists_experiments_where_it_takes_them(merit_opt, verb):
    help_of_it, taken = merit_opt(f"{verb} --help").out, merit_opt(f"{verb} --cfg hydra").out
    alone = verb in ("plant", "report")
    assert f"{'' if alone else 'experiment: icml_idefics2'}" in help_of_it
    assert ("experiment: null" in taken) == ("experiment: icml_idefics2" in help_of_it)


def test_the_help_of_a_report_lists_every_option_of_its_groups(merit_opt):
    help_of_it = merit_opt("report --help").out
    for group in ("storage", "tracking"):
        options = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
        assert f"{group}: {', '.join(options)}\n" in help_of_it


def test_help_names_every_verb(merit_opt):
    done = merit_opt("--help")
    assert (done.code, done.err) == (0, "")
    assert re.findall(r"^  ([a-z]+) {2,}\S", done.out, re.MULTILINE)[: len(VERBS)] == list(VERBS)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("serch", "search"), ("evalute", "evaluate"), ("exprot", "export"), ("--chek", "check")],
)
def test_an_unknown_verb_names_the_nearest(merit_opt, typed, meant):
    done = merit_opt(f"{typed} study.trials=3")
    assert (done.code, done.out) == (2, "")
    assert (
        done.err == f"merit-opt: there is no verb {typed!r}; did you mean `merit-opt {meant}`?\n"
    )


def test_the_version_is_the_installed_one(merit_opt, monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", {"merit-opt": "1.2.3"}.__getitem__)
    assert merit_opt("--version").out == "merit-opt 1.2.3\n"


def test_every_example_of_the_help_is_a_verb_with_known_groups(merit_opt):
    examples = re.findall(r"^  merit-opt (\w+)", merit_opt("--help").out, re.MULTILINE)
    assert set(examples) <= set(VERBS)
    assert len(examples) >= 5


def test_ctrl_c_is_code_130_without_a_traceback(merit_opt, monkeypatch):
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("merit_opt.cli.app.launch", interrupted)
    done = merit_opt("search")
    assert (done.code, done.out, done.err) == (130, "", "")
