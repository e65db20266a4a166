"""Nothing is called that no option file names, wherever a configuration comes from."""

import os
import pickle
import re

import hydra._internal.hydra
import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.utils import instantiate
from omegaconf import OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.cli.build import factories
from merit_opt.cli.guard import allowed, unfollowed, why_refused
from merit_opt.errors import UserError
from tests.unit.cli import strange_target

# Which Hydra itself lets through, as it does not os.system.
NAMED = f"{strange_target.__name__}.note"
TOUCH = "touch called"

OVERRIDES = {
    "search @small pair._target_=os.system": "pair._target_=os.system is refused; the options",
    "search @small +pair.extra._target_=os.system": "pair.extra._target_=os.system is refused: no",
    "search @small +other._target_=os.system": "other._target_=os.system is refused: nothing",
    "search @small +_target_=os.system": "_target_=os.system is refused: nothing",
    "search @small 'pair._target_=${oc.env:HOME}'": "pair._target_=${oc.env:HOME} is refused",
    # ours, and no factory of the group
    "search @small pair._target_=merit_opt.files.write_text": "pair._target_=merit_opt.files.write",
    "search @small suite._target_=merit_opt.models.source.PairSource": "suite._target_=merit_opt",
    f"search @small '+hydra.callbacks.x={{_target_:os.system,command:{TOUCH}}}'": (
        "hydra.callbacks.x._target_=os.system is refused; the options there have hydra._internal"
    ),
    "search -m @small seed=0,1 hydra.launcher._target_=os.system": "hydra.launcher._target_=os.s",
    "search -m @small seed=0,1 +hydra.launcher.x._target_=os.system": "hydra.launcher.x._target_=",
    "search -m @small seed=0,1 +hydra.sweeper.x._target_=os.system": "hydra.sweeper.x._target_=os",
    "search -m @small pair._target_=os.system,os.abort": "pair._target_=os.system is refused",
    "search @small '+hydra.job_logging.formatters={x:{class: os.system}}'": "hydra.job_logging.form",
    "search @small '+hydra.hydra_logging.handlers={x:{class: os.x}}'": "hydra.hydra_logging.handl",
    "search @small hydra/job_logging=default": "hydra.job_logging.formatters is refused: nothing",
    "search @small '+hydra.job.env_set={LD_PRELOAD: x}'": "hydra.job.env_set is refused: set envi",
    "search @small pair._target_=[a]": "pair._target_=['a'] is refused; the options there have",
    "search @small pair._target_={a:b}": "pair._target_={'a': 'b'} is refused; the options there",
    "search @small 'hydra.job_logging=${pair}'": "hydra.job_logging=${pair} is refused: it holds",
    "search @small 'hydra.job_logging.version=ext://os.x'": "hydra.job_logging.version=ext://os.x",
    "search @small '+hydra.job_logging.x=${seed}'": "hydra.job_logging.x=${seed} is refused: noth",
    "search -m @small seed=0,1 'hydra.launcher=${pair}'": "hydra.launcher=${pair} is refused: it",
    "search --experimental-rerun=kept.pickle": "--experimental-rerun reads a pickle, which can run",
    "search --exp kept.pickle": "--experimental-rerun reads a pickle",
}  # fmt: skip


class Calls:
    def __reduce__(self):
        return os.system, (TOUCH,)


@pytest.fixture
def strange(merit_opt, monkeypatch, tmp_path):
    """The command, after which nothing may have been called."""
    (tmp_path / "kept.pickle").write_bytes(pickle.dumps(Calls()))
    ran: list[str] = []
    monkeypatch.setattr(os, "system", ran.append)
    strange_target.noted.clear()
    yield merit_opt
    assert ran == strange_target.noted == []
    assert not (tmp_path / "called").exists()
    assert not (tmp_path / "outputs" / "merit.db").exists()


@pytest.mark.parametrize("line", OVERRIDES)
def test_an_override_cannot_have_anything_else_called(strange, loads, line):
    done = strange(line)
    assert (done.code, done.out, loads) == (2, "", [])
    assert done.err.startswith(f"merit-opt: {OVERRIDES[line]}"), done.err
    assert "Traceback" not in done.err


MADE = [
    f"${{oc.create:{{_target_:{NAMED}}}}}",
    f"${{oc.decode:'{{_target_: {NAMED}}}'}}",
    f"${{oc.select:none,{{_target_:{NAMED}}}}}",
    f"${{oc.${{hydra.none}}:{{_target_:{NAMED}}}}}",
    "${pair}",
    "${hydra:job}",
    "${oc.dict.values:pair}",
]


def test_hydra_would_call_the_name_that_these_tests_have():
    strange_target.noted.clear()
    instantiate({"_target_": NAMED, "word": "x"})
    assert strange_target.noted == [{"word": "x"}]


@pytest.mark.parametrize(
    "line",
    [f"report study=nope '+hydra.callbacks.x=\"{made}\"'" for made in MADE if "'" not in made]
    + [
        f"report study=nope 'hydra.callbacks=\"{MADE[0]}\"'",
        f"search -m @small seed=0,1 '+hydra.launcher.x=\"{MADE[0]}\"'",
        f"search -m @small seed=0,1 '+hydra.sweeper.x=\"{MADE[0]}\"'",
    ],
)
def test_nothing_that_a_resolver_makes_is_called(strange, line):
    done = strange(line)
    assert done.code == 2
    assert re.match(
        r"merit-opt: hydra\.[\w.]+=\$\{.* is refused: (nothing is look|it ho)", done.err
    )


@pytest.mark.parametrize("made", MADE[:3])
@pytest.mark.parametrize("verb", ["report study=nope +", "search @small "])
def test_nor_in_a_stranger_s_files(strange, tmp_path, verb, made):
    (tmp_path / "options" / "experiment").mkdir(parents=True)
    whole = {"defaults": [verb.split()[0], "_self_"], "hydra": {"callbacks": made}}
    (tmp_path / "options" / "a.yaml").write_text(yaml.safe_dump(whole))
    own = "# @package _global_\n" + yaml.safe_dump({"hydra": {"callbacks": {"x": made}}})
    (tmp_path / "options" / "experiment" / "e1.yaml").write_text(own)
    found = [strange(f"{verb.rstrip('+')} --config-dir options --config-name a")]
    found.append(strange(f"{verb}experiment=e1 --config-dir options"))
    assert [done.code for done in found] == [2, 2]
    assert "hydra.callbacks=${oc." in found[0].err
    assert "hydra.callbacks.x=${oc." in found[1].err


def test_no_resolver_that_makes_keys_stands_anywhere(strange):
    done = strange("search @small 'suite.clips=\"${oc.create:{a:b}}\"'")
    told = "merit-opt: suite.clips has ${oc.create:{a:b}}, which is refused; it may have ${KEY}, "
    assert done.err.startswith(told)


@pytest.mark.parametrize(
    "text",
    ["${a}", "${.a.b[0]}x", "${a.${b}}", "${oc.env:A,x}", "${oc.env:A,${oc.env:B,1}}",
     "${hydra:runtime.cwd}/${now:%Y-%m-%d}", "${workers:}", "no ${ output_dir } there"],
)  # fmt: skip
def test_references_and_variables_may_stand(text):
    assert unfollowed(text) == ""


@pytest.mark.parametrize(
    "text",
    ["${oc.create:{a:1}}", "x${oc.${a}:b}", "${${a}.create:b}", "${oc.env:{a:1}}", "${ oc.create:a}",
     "${oc.env.x:a}", "${a", "${oc.env:A,${oc.decode:a}}", r"\${oc.decode:a}", "${:a}"],
)  # fmt: skip
def test_nothing_else_may(text):
    assert "${" in unfollowed(text)


def test_a_hydra_that_composes_past_the_guard_is_refused(strange, monkeypatch):
    def init(self, task_name, config_loader):
        self.config_loader = ConfigLoaderImpl(config_loader.config_search_path)

    monkeypatch.setattr(hydra._internal.hydra.Hydra, "__init__", init)
    done = strange("search @small")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("merit-opt: this version of Hydra, ")


CALLBACK = {"hydra": {"callbacks": {"x": {"_target_": "os.system", "command": TOUCH}}}}
LOGGED = {"hydra": {"job_logging": {"version": 1, "formatters": {"x": {"()": "os.system"}}}}}
PAIR = {"_target_": "os.system", "command": TOUCH}


@pytest.mark.parametrize("option", ["evil", "sly"])
def test_a_stranger_s_option_cannot(strange, tmp_path, option):
    (tmp_path / "options" / "pair").mkdir(parents=True)
    (tmp_path / "options" / "pair" / "evil.yaml").write_text(yaml.safe_dump(PAIR))
    sly = "# @package _global_\n" + yaml.safe_dump(CALLBACK)
    (tmp_path / "options" / "pair" / "sly.yaml").write_text(sly)
    done = strange(f"search --config-dir options @small pair={option}")
    assert done.code == 2
    assert re.search(r"(pair|hydra\.callbacks\.x)\._target_=os\.system is refused", done.err)


@pytest.mark.parametrize(
    "how",
    ["--config-dir options --config-name other", "--config-path {folder} --config-name other"],
)
@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"pair": PAIR}, "pair._target_=os.system is refused"),
        (CALLBACK, "hydra.callbacks.x._target_=os.system is refused"),
        (LOGGED, "hydra.job_logging.formatters is refused"),
    ],
)
def test_a_stranger_s_whole_configuration_cannot(strange, tmp_path, how, content, told):
    folder = tmp_path / "options"
    folder.mkdir()
    (folder / "other.yaml").write_text(yaml.safe_dump(content))
    done = strange(f"search {how.format(folder=folder)}")
    assert done.code == 2
    assert told in done.err


@pytest.mark.parametrize("shows", ["--cfg job", "--help"])
def test_nor_where_a_configuration_is_only_shown(strange, shows):
    done = strange(f"search {shows} '+hydra.callbacks.x={{_target_:os.system,command:{TOUCH}}}'")
    assert "hydra.callbacks.x._target_=os.system is refused" in done.err


def test_a_tag_of_yaml_makes_no_object(strange, tmp_path):
    (tmp_path / "options" / "pair").mkdir(parents=True)
    option = tmp_path / "options" / "pair" / "evil.yaml"
    option.write_text(f"vlm: !!python/object/apply:os.system ['{TOUCH}']\n")
    done = strange("search --config-dir options @small pair=evil")
    assert done.code == 2
    assert "could not determine a constructor" in done.err


def test_what_a_study_kept_is_looked_through_as_well():
    kept = OmegaConf.create({"suite": {"_target_": "merit_opt.files.write_text", "path": "x"}})
    with pytest.raises(
        UserError, match=r"suite\._target_=merit_opt\.files\.write_text is refused"
    ):
        factories(kept, {})


def test_every_group_allows_what_its_option_files_name():
    for path in conf_dir().glob("*/*.yaml"):
        found = re.findall(r"^_target_: (\S+)", path.read_text(), re.MULTILINE)
        assert set(found) <= allowed(path.parent.name)
        assert [why_refused(path.parent.name, target) for target in found] == [""] * len(found)
    assert allowed("../conf/pair") == allowed("pair")
    assert why_refused("../conf/pair", "merit_opt.models.source.PairSource")
