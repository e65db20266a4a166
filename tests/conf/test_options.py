"""Every option file fits its group and its factory, and every default has one home."""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf
from hydra_plugins.hydra_submitit_launcher.config import LocalQueueConf, SlurmQueueConf
from omegaconf import DictConfig, OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.cli.build import factories
from merit_opt.cli.guard import TARGET, require_known
from merit_opt.cli.launchers import Submitted
from merit_opt.cli.main import VERBS
from merit_opt.cli.parts import SAMPLER_KEYS, SPLIT_KEYS, SUITE_INJECTED
from merit_opt.cli.schema import SCHEMAS

CONF = conf_dir()
ROOTS = sorted(CONF.glob("*.yaml"))
OPTIONS = sorted(path for path in CONF.rglob("*.yaml") if path not in ROOTS)
EXPERIMENTS = [path for path in OPTIONS if path.parent.name == "experiment"]
SHARED = [path for path in OPTIONS if path.name.startswith("_")]
LAUNCHERS = [path for path in OPTIONS if path.parent == CONF / "hydra" / "launcher"]
FACTORIES = [path for path in OPTIONS if path not in EXPERIMENTS + SHARED + LAUNCHERS]

OWN = {"suite": SPLIT_KEYS, "sampler": SAMPLER_KEYS}
TABLES = ("roles",)
INJECTED = {"suite": SUITE_INJECTED, "space": {"n_layers"}}


def name(path: Path) -> str:
    return f"{path.parent.name}={path.stem}"


def defaults(root: Path) -> dict[str, Any]:
    """Group -> option of a verb's defaults list."""
    items = [item for item in OmegaConf.load(root).defaults if isinstance(item, DictConfig)]
    return {
        str(k): v for item in items for k, v in item.items() if not str(k).startswith("override")
    }


def verbs_with(group: str) -> list[str]:
    return [root.stem for root in ROOTS if group in defaults(root)]


def options_of(path: Path) -> dict[str, Any]:
    """What an option gives, with what it shares with its siblings."""
    own = OmegaConf.to_container(OmegaConf.load(path))
    if path not in FACTORIES + SHARED:
        return own
    shared = [item for item in own.pop("defaults", []) if item != "_self_"]
    inherited = (options_of(path.with_name(f"{name}.yaml")) for name in shared)
    return {key: value for one in (*inherited, own) for key, value in one.items()}


def parameters(target: str) -> Mapping[str, inspect.Parameter]:
    import importlib

    module, _, attribute = target.rpartition(".")
    return inspect.signature(getattr(importlib.import_module(module), attribute)).parameters


def verb_of(experiment: Path) -> str:
    """The verb whose command line an experiment's header shows."""
    verb, _ = next(
        re.finditer(
            rf"#   merit-opt (\w+) (-m )?experiment={experiment.stem}\b", experiment.read_text()
        )
    ).groups()
    return verb


def test_every_yaml_is_seen_here():
    assert len(ROOTS) + len(OPTIONS) == len(list(CONF.rglob("*.yaml")))
    groups = (EXPERIMENTS, FACTORIES, SHARED, LAUNCHERS)
    assert len(set(OPTIONS)) == sum(map(len, groups))
    assert all(path.parent.parent == CONF for path in OPTIONS if path not in LAUNCHERS)


def test_every_verb_has_a_root_and_a_schema_and_every_root_a_verb():
    assert {path.stem for path in ROOTS} == set(VERBS) == set(SCHEMAS)


@pytest.mark.parametrize("root", ROOTS, ids=lambda p: p.stem)
def test_a_root_gives_every_key_of_its_schema_and_no_other(root):
    given = set(options_of(root)) - {"defaults", "hydra"} | set(defaults(root)) - {"experiment"}
    assert given == set(SCHEMAS[root.stem].__dataclass_fields__)


@pytest.mark.parametrize("root", ROOTS, ids=lambda p: p.stem)
def test_a_root_composes_as_it_is(composed, root):
    assert OmegaConf.to_container(composed(root.stem))


@pytest.mark.parametrize("path", [p for p in OPTIONS if p not in LAUNCHERS], ids=name)
def test_an_option_belongs_to_a_group_of_some_verb(path):
    assert verbs_with(path.parent.name)


@pytest.mark.parametrize("path", FACTORIES, ids=name)
def test_an_option_composes_in_its_group_and_binds_to_its_factory(composed, path):
    group = path.parent.name
    missing = [f"{group}.{k}=given" for k, v in options_of(path).items() if v == "???"]
    cfg = composed(verbs_with(group)[-1], [name(path), *missing])
    known = {key: cfg[key] for key in ("output_dir", "study") if key in cfg}
    alone = OmegaConf.create({group: cfg[group], **known})
    built = factories(alone, OWN, **INJECTED)
    given = set(options_of(path)) - {TARGET} - set(OWN.get(group, {}))
    assert set(built[group].arguments) == given
    inspect.signature(built[group].call).bind(
        **built[group].arguments, **dict.fromkeys(INJECTED.get(group, ()))
    )


@pytest.mark.parametrize("path", FACTORIES, ids=name)
def test_an_option_names_one_factory_of_ours_and_holds_only_values(path):
    options = options_of(path)
    assert options[TARGET].startswith("merit_opt.")
    values = [v for k, v in options.items() if k != TARGET]
    assert not any(isinstance(v, dict) for k, v in options.items() if k not in TABLES)
    assert not any(
        isinstance(leaf, dict) for v in values if isinstance(v, dict) for leaf in v.values()
    )
    assert not [k for k in options if k.startswith("_") and k != TARGET]


@pytest.mark.parametrize("path", FACTORIES, ids=name)
def test_a_default_has_its_one_home_in_the_yaml(path):
    accepted = parameters(options_of(path)[TARGET])
    empty = inspect.Parameter.empty
    twice = [k for k in options_of(path) if k in accepted and accepted[k].default is not empty]
    assert twice == []


@pytest.mark.parametrize("path", FACTORIES, ids=name)
def test_an_option_gives_everything_its_factory_wants(path):
    group, options = path.parent.name, options_of(path)
    wanted = set(parameters(options[TARGET])) - INJECTED.get(group, set())
    assert set(options) - {TARGET} - set(OWN.get(group, {})) == wanted


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


@pytest.mark.parametrize("path", [*ROOTS, *OPTIONS], ids=name)
def test_every_file_says_first_what_it_is_for(path):
    first, second, *_ = path.read_text().splitlines()
    assert first.startswith("# ")
    if path in LAUNCHERS and first == "# @package hydra":
        first = second
    assert re.match(r"# \w", first) or path in EXPERIMENTS
    if path in EXPERIMENTS:
        assert first == "# @package _global_"
        assert verb_of(path) in verbs_with("experiment")


PLUGINS = {
    "joblib": JobLibLauncherConf,
    "submitit_local": LocalQueueConf,
    "submitit_slurm": SlurmQueueConf,
}


def test_every_launcher_is_one_of_a_plugin():
    assert {path.stem for path in LAUNCHERS} == set(PLUGINS)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("path", LAUNCHERS, ids=name)
def test_a_launcher_composes_with_every_verb_as_its_plugin_knows_it(composed, path, verb):
    cfg = composed(verb, [f"hydra/launcher={path.stem}"], hydra=True).hydra
    known = OmegaConf.structured(PLUGINS[path.stem])
    given = OmegaConf.to_container(cfg.launcher)
    assert given[TARGET] == known[TARGET]
    merged = OmegaConf.merge(known, {k: v for k, v in given.items() if "${" not in str(v)})
    assert set(given) == set(merged) or path.stem == "joblib"
    told = [instantiate(callback) for callback in cfg.callbacks.values()]
    assert [type(callback) for callback in told] == [Submitted] * (path.stem != "joblib")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("launcher", ["basic", *PLUGINS])
def test_nothing_that_is_shipped_is_refused(composed, verb, launcher):
    require_known(composed(verb, [f"hydra/launcher={launcher}"], hydra=True))


def test_interpolation_is_only_of_what_the_root_knows():
    found = {
        (name(path), value)
        for path in OPTIONS
        if path not in LAUNCHERS
        for _, value in leaves(options_of(path))
        if isinstance(value, str) and "${" in value
    }
    known = ("${output_dir}", "${study.least_share}")
    assert not [value for _, value in found if not any(key in value for key in known)]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda p: p.stem)
def test_what_an_experiment_sets_takes_effect(composed, path):
    cfg = composed(verb_of(path), [f"experiment={path.stem}"])
    changed = dict(leaves(OmegaConf.to_container(cfg)))
    own = {k: v for k, v in leaves(options_of(path)) if not k.startswith("defaults")}
    assert own
    assert {k: changed[k] for k in own} == own


def test_no_option_inherits_from_an_experiment():
    for path in OPTIONS:
        for item in options_of(path).get("defaults", []):
            assert "experiment" not in str(item)
