"""Nothing is called that no option file names, wherever a configuration comes from."""

import os
import pickle
import re

import pytest
import yaml
from omegaconf import OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.cli.build import factories
from merit_opt.cli.guard import allowed, why_refused
from merit_opt.errors import UserError

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
    yield merit_opt
    assert ran == []
    assert not (tmp_path / "called").exists()
    assert not (tmp_path / "outputs" / "merit.db").exists()


@pytest.mark.parametrize("line", OVERRIDES)
def test_an_override_cannot_have_anything_else_called(strange, loads, line):
    done = strange(line)
    assert (done.code, done.out, loads) == (2, "", [])
    assert done.err.startswith(f"merit-opt: {OVERRIDES[line]}"), done.err
    assert "Traceback" not in done.err


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
