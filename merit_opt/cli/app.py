"""Hydra ends here: a verb's configuration is composed, checked and handed to its function."""

import importlib
import os
import sys
from collections.abc import Callable

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from merit_opt.cli import conf_dir
from merit_opt.cli.given import from_home
from merit_opt.cli.main import USER_ERROR
from merit_opt.cli.refusal import sentence, strangers
from merit_opt.cli.schema import SCHEMAS, register
from merit_opt.errors import TrialFailed, UserError, without_credentials
from merit_opt.search.interrupts import interrupts_allowed


def launch(verb: str, arguments: list[str]) -> int:
    """Compose the verb's configuration from `arguments` and run it, once per job of a sweep.

    Returns:
        The greatest exit code of the jobs.

    Raises:
        UserError: The configuration does not compose; the message names the nearest right key.
    """
    codes: list[int] = []

    def task(cfg: DictConfig) -> None:
        codes.append(USER_ERROR)
        codes[-1] = _run_job(verb, cfg)

    os.environ["HYDRA_FULL_ERROR"] = "1"
    arguments = [from_home(argument) for argument in arguments]
    sys.argv = [f"merit-opt {verb}", *arguments]
    register()
    application: Callable[[], None] = hydra.main(
        version_base="1.3", config_path=str(conf_dir()), config_name=verb
    )(task)
    try:
        application()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(sentence(verb, arguments, error)) from None
    except (OSError, ValueError) as error:
        if codes or isinstance(error, BrokenPipeError):  # a job had begun, or nobody reads on
            raise
        raise UserError(sentence(verb, arguments, error)) from None
    return max(codes, default=0)


def _run_job(verb: str, cfg: DictConfig) -> int:
    """A user's error ends this job, not its siblings in a sweep."""
    with Console(stderr=True).status("loading libraries"):
        function = importlib.import_module(f"merit_opt.cli.{verb}").run
    try:
        problems = [f"{key}= must be given" for key in sorted(OmegaConf.missing_keys(cfg))]
        problems += strangers(cfg, SCHEMAS[verb])
        if problems:
            raise UserError("; ".join(problems))
        with interrupts_allowed():
            function(cfg, dict(HydraConfig.get().runtime.choices))
    except (UserError, TrialFailed) as error:
        print(f"merit-opt: {without_credentials(str(error))}", file=sys.stderr)
        return USER_ERROR
    return 0
