"""The jobs of a command: one, or a sweep's, in this process or in others at once."""

import importlib
import os
from dataclasses import dataclass, field

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from merit_opt.cli.launchers import is_alone
from merit_opt.cli.main import FAILED, INTERRUPTED, USER_ERROR, show_trace, tell
from merit_opt.cli.masked import masked_output
from merit_opt.cli.refusal import strangers
from merit_opt.cli.schema import SCHEMAS
from merit_opt.errors import TrialFailed, UserError
from merit_opt.search.interrupts import interrupts_allowed, interrupts_held


class JobFailed(Exception):
    """A job in another process ended with an exit code other than 0.

    Attributes:
        code: The exit code.
        why: What is still to be told here; empty where the job's own words were seen.
    """

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)  # as pickling wants it
        self.code = code
        self.why = why


@dataclass(frozen=True, eq=False)
class Job:
    """What Hydra calls for every job, wherever its launcher runs it.

    A user's error ends the job, not its siblings. Exit codes of jobs in this process are kept; from
    another process only an exception comes back.

    Attributes:
        verb: The command.
        codes: Exit codes of the jobs that began in this process.
        home: The process that launched the jobs.
    """

    verb: str
    codes: list[int] = field(default_factory=list[int])
    home: int = field(default_factory=os.getpid)

    def __call__(self, cfg: DictConfig) -> None:
        """Run one job.

        Raises:
            JobFailed: It did not succeed, in another process.
            KeyboardInterrupt: In this process.
        """
        if os.getpid() != self.home:
            with masked_output():
                _run_elsewhere(self.verb, cfg)
            return
        self.codes.append(USER_ERROR)
        if why := _run(self.verb, cfg):
            tell(why)
        else:
            self.codes[-1] = 0


_interrupted: list[int] = []
"""Not empty once a job of this process was interrupted: those that wait here shall not begin."""


def _run_elsewhere(verb: str, cfg: DictConfig) -> None:
    if _interrupted:
        raise JobFailed(INTERRUPTED, "")
    try:
        with interrupts_held():
            why = _run(verb, cfg)
    except KeyboardInterrupt:
        _interrupted.append(INTERRUPTED)
        raise JobFailed(INTERRUPTED, "") from None
    except Exception as error:
        show_trace(type(error), error, error.__traceback__)
        raise JobFailed(FAILED, _unseen(f"{type(error).__name__}: {error}")) from error
    if why:
        tell(why)
        raise JobFailed(USER_ERROR, _unseen(why))


def _unseen(why: str) -> str:
    """Submitit keeps what a job says in files."""
    return why if "SUBMITIT_EXECUTOR" in os.environ else ""


def _run(verb: str, cfg: DictConfig) -> str:
    """What the user did wrong, or nothing."""
    choices = dict(HydraConfig.get().runtime.choices)
    with Console(stderr=True, force_terminal=None if is_alone(choices) else False).status(
        "loading libraries"
    ):
        function = importlib.import_module(f"merit_opt.cli.{verb}").run
    try:
        problems = [f"{key}= must be given" for key in sorted(OmegaConf.missing_keys(cfg))]
        problems += strangers(cfg, SCHEMAS[verb])
        problems += [
            f"{group}={option} is what options of this group share; choose one without _"
            for group, option in choices.items()
            if option and option.startswith("_")
        ]
        if problems:
            raise UserError("; ".join(problems))
        with interrupts_allowed():
            function(cfg, choices)
    except (UserError, TrialFailed) as error:
        return str(error)
    return ""
