"""A password in an address is told nowhere: in no mistake, no configuration and no trace."""

import string
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from merit_opt.cli.main import show_trace
from merit_opt.errors import without_credentials

CANARY = "xQ7kanarie"
AWAY = f"storage=postgres storage.patience=0 storage.url=postgresql://me:{CANARY}@127.0.0.1:9/x"
AT_ITS_END = f"'postgresql://127.0.0.1:9/x?user=me&password={CANARY}'"

MISTAKES = {
    "a server that is away": f"search @small {AWAY}",
    "another kind": f"search @small {AWAY.replace('=postgres ', '=sqlite ')}",
    "no port": f"search @small {AWAY.replace(':9', ':port')}",
    "at its end": f'search @small {AWAY} storage.url="{AT_ITS_END}"',
    "mlflow of no kind": f"search @small tracking=mlflow tracking.uri=ftp://me:{CANARY}@h/x",
    "a typo beside it": f"search @small {AWAY} study.trails=3",
    "what cannot be read": f"search @small storage.url=postgresql://me:{CANARY}@h/(x",
    "a study looked up": f"report study=x {AWAY}",
    "a recipe looked up": f"evaluate recipe=study:x {AWAY}",
    "a key of its own": f"search @small +postgresql://me:{CANARY}@h=1",
}
SHOWN = {
    "job": f"search --cfg job {AWAY}",
    "all": f"search --cfg all {AWAY}",
    "resolved": f"search --cfg job --resolve {AWAY}",
    "help": f"search --help {AWAY}",
    "check": f"check {AWAY}",
}  # fmt: skip


def clean(told: str) -> bool:
    return CANARY not in told and "kanarie" not in told


def left_in(folder: Path) -> list[Path]:
    files = (path for path in (folder / "outputs").rglob("*") if path.is_file())
    return [path for path in files if CANARY.encode() in path.read_bytes()]


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_does_not_tell_it(merit_opt, tmp_path, what):
    done = merit_opt(MISTAKES[what])
    assert done.code == 2
    assert done.err.startswith("merit-opt: ")
    assert clean(done.out + done.err), done
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("what", SHOWN)
def test_what_is_shown_does_not_tell_it(merit_opt, what):
    done = merit_opt(SHOWN[what])
    assert "…@127.0.0.1:9/x" in done.out + done.err
    assert clean(done.out + done.err), done


def test_the_trace_of_a_bug_does_not_tell_it(merit_opt, monkeypatch, capsys):
    def bug(*_: object, **__: object) -> None:
        raise ValueError(f"a bug at postgresql://me:{CANARY}@127.0.0.1:9/x")

    monkeypatch.setattr("merit_opt.cli.search.split_by_group", bug)
    uri = f"tracking=mlflow tracking.uri=http://me:{CANARY}@127.0.0.1:9"
    with pytest.raises(ValueError, match="a bug") as caught:
        merit_opt(f"search @small {uri}")
    show_trace(caught.type, caught.value, caught.tb)
    told = capsys.readouterr()
    assert "with overrides" in told.err  # Hydra's
    assert "ValueError: a bug at postgresql://…@127.0.0.1:9/x" in told.err
    assert clean(told.out + told.err)


def test_the_program_shows_its_bugs_so(monkeypatch):
    from merit_opt.cli.main import main

    monkeypatch.setattr(sys, "argv", ["merit-opt", "--version"])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    with pytest.raises(SystemExit):
        main()
    assert sys.excepthook is show_trace


LETTERS = "".join(set(string.printable) - set("@\n\r\x0b\x0c/"))
AROUND = st.sampled_from(["'{}'", "{}", '"{}", x'])


@given(st.text(LETTERS, min_size=1).map("me:{}w".format), AROUND)
@example("u:12'34", "{}")
@example("u:1 2", "{}")
@example("me:5000; a", "{}")
def test_no_password_survives_whatever_letters_it_has(userinfo, around):
    text = around.format(f"postgresql://{userinfo}@host:5432/db")
    assert without_credentials(text) == around.format("postgresql://…@host:5432/db")


@given(st.text(sorted(set(LETTERS) - set("&# \t")), min_size=1).map("{}w".format), AROUND)
@example("it's", "{}")
def test_none_survives_at_the_end_of_an_address(password, around):
    told = without_credentials(around.format(f"postgresql://host/db?password={password}"))
    assert told == around.format("postgresql://host/db?password=…")


@pytest.mark.parametrize("text", ["/", "//a:", "//a:1/", "http://a:1/", "?a"])
@pytest.mark.parametrize("end", ["", " @"])
def test_a_text_of_a_million_letters_is_read_in_time(text, end):
    long = text * (10**6 // len(text))
    assert without_credentials(long).startswith(long)
    assert len(without_credentials(long + end)) <= len(long + end)


@pytest.mark.parametrize(
    "text",
    [
        "http://host:5000/x, or mail me@example.org",
        "sqlite:///outputs/merit.db",
        "see https://host:5000; a@b",
        "pair.vlm=acme/vlm@main",
        "https://host/x?page=2&keys=3",
    ],
)
def test_what_holds_no_password_is_left_as_it_is(text):
    assert without_credentials(text) == text
