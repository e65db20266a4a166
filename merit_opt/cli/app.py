"""Hydra ends here: a verb's configuration is composed, checked and handed to its function."""

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from merit_opt.cli import conf_dir
from merit_opt.cli.schema import register
from merit_opt.errors import UserError

USER_ERROR = 2


def launch(verb: str, arguments: list[str]) -> int:
    """Compose the verb's configuration from `arguments` and run it, once per job of a sweep.

    Returns:
        The greatest exit code of the jobs.

    Raises:
        UserError: The configuration does not compose; the message names the nearest right key.
    """
    codes: list[int] = []

    def task(cfg: DictConfig) -> None:
        codes.append(_run_job(verb, cfg))

    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [f"merit-opt {verb}", *arguments]
    register()
    application: Callable[[], None] = hydra.main(
        version_base="1.3", config_path=str(conf_dir()), config_name=verb
    )(task)
    try:
        application()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_sentence(verb, arguments, error)) from None
    return max(codes, default=0)


def _run_job(verb: str, cfg: DictConfig) -> int:
    """A user's error ends this job, not its siblings in a sweep."""
    function = importlib.import_module(f"merit_opt.cli.{verb}").run
    try:
        if missing := sorted(OmegaConf.missing_keys(cfg)):
            raise UserError("; ".join(f"{key}= must be given" for key in missing))
        function(cfg, dict(HydraConfig.get().runtime.choices))
    except UserError as error:
        print(f"merit-opt: {error}", file=sys.stderr)
        return USER_ERROR
    return 0


def _sentence(verb: str, arguments: list[str], error: Exception) -> str:
    reason = str(error).strip()
    hints = [hint for argument in arguments if (hint := _hint(verb, argument, reason))]
    first = " ".join(line.strip() for line in reason.splitlines()[:3])
    return " ".join([first, *hints])


def _hint(verb: str, argument: str, reason: str) -> str:
    key = re.split(r"[=@]", argument.lstrip("+~"), maxsplit=1)[0]
    if key not in reason:
        return ""
    near = get_close_matches(key, _known_keys(verb), n=1)
    return f"Did you mean {near[0]}=?" if near and near[0] != key else ""


def _known_keys(verb: str) -> set[str]:
    """Every key and group that the verb's own file and the option files spell out."""
    root = set(_keys(OmegaConf.to_container(OmegaConf.load(conf_dir() / f"{verb}.yaml"))))
    groups = {path.parent.name: set[str]() for path in conf_dir().glob("*/*.yaml")}
    for path in conf_dir().glob("*/*.yaml"):
        groups[path.parent.name] |= set(_keys(OmegaConf.to_container(OmegaConf.load(path))))
    return root | set(groups) | {f"{group}.{key}" for group in groups for key in groups[group]}


def _keys(node: object, prefix: str = "") -> Iterable[str]:
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name not in ("hydra", "defaults", "_target_"):
            yield f"{prefix}{name}"
            yield from _keys(value, f"{prefix}{name}.")
