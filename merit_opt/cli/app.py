"""Hydra ends here: a verb's configuration is composed, checked and handed to its function."""

import os
import sys
from collections.abc import Callable

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from merit_opt.cli import conf_dir
from merit_opt.cli.given import from_home
from merit_opt.cli.guard import guard
from merit_opt.cli.jobs import Job, JobFailed
from merit_opt.cli.launchers import launcher_failure, register_resolvers
from merit_opt.cli.main import FAILED, tell
from merit_opt.cli.refusal import sentence
from merit_opt.cli.schema import register
from merit_opt.errors import UserError
from merit_opt.search.interrupts import interrupt_waits

RERUN = "--e"  # of --experimental-rerun, which may be shortened


def launch(verb: str, arguments: list[str]) -> int:
    """Compose the verb's configuration from `arguments` and run it, once per job of a sweep.

    Returns:
        The greatest exit code of the jobs.

    Raises:
        UserError: The configuration does not compose, which is told with the nearest right key, or
            names what no option does.
    """
    job = Job(verb)
    os.environ["HYDRA_FULL_ERROR"] = "1"
    _require_no_pickle(arguments)
    arguments = [from_home(argument) for argument in arguments]
    sys.argv = [f"merit-opt {verb}", *arguments]
    register()
    guard()
    application: Callable[[], None] = hydra.main(
        version_base="1.3", config_path=str(conf_dir()), config_name=verb
    )(job)
    try:
        register_resolvers(arguments)
        application()
    except JobFailed as error:
        return tell(error.why, error.code) if error.why else error.code
    except RuntimeError as error:
        if (why := launcher_failure(error)) is None:
            raise
        if interrupt_waits():  # which ended the worker too
            raise KeyboardInterrupt from None
        return tell(why, FAILED)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        raise UserError(sentence(verb, arguments, error)) from None
    except (OSError, ValueError) as error:
        if job.codes or isinstance(error, BrokenPipeError):  # a job had begun, or nobody reads on
            raise
        raise UserError(sentence(verb, arguments, error)) from None
    return max(job.codes, default=0)


def _require_no_pickle(arguments: list[str]) -> None:
    if any(argument.startswith(RERUN) for argument in arguments):
        raise UserError("--experimental-rerun reads a pickle, which can run code, and is refused")
