"""Where the jobs of a sweep run: what conf/hydra/launcher needs beside Hydra's plugins."""

import signal
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from textwrap import indent
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from merit_opt.errors import UserError

GROUP, HERE = "hydra/launcher", "basic"
WORKER = "worker"
ONE_A_CPU = -1
LAST_WORDS = 12


def is_alone(choices: Mapping[str, str]) -> bool:
    """Whether jobs run one after the other, so that each has the terminal for itself.

    Args:
        choices: Group -> option of a job.
    """
    return choices.get(GROUP, HERE) == HERE


def register_resolvers(arguments: Sequence[str]) -> None:
    """Make `${workers:}` known: how many values `worker=` takes, -1 where it takes none."""
    count = ONE_A_CPU
    swept = [a for a in arguments if a.startswith(f"{WORKER}=")]
    for override in OverridesParser.create().parse_overrides(swept):
        if override.is_discrete_sweep():
            count = len(list(override.sweep_string_iterator()))
    OmegaConf.register_new_resolver("workers", lambda: count, replace=True)


class Submitted(Callback):
    """Says where jobs that write to no terminal can be read."""

    def __init__(self, note: str) -> None:
        self._note = note

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Before the jobs are submitted; from then on there is only waiting, which may be ended."""
        folder, files = config.hydra.launcher.submitit_folder, "JOB_0_log.out, JOB_0_log.err"
        Console().print(f"output of the jobs: {folder}/ ({files}); {self._note}", soft_wrap=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def launcher_failure(error: RuntimeError) -> str | None:
    """What went wrong with the processes that run jobs; None where it was something else.

    Raises:
        UserError: The launcher cannot be used here.
    """
    reason, origin = str(error).partition("\n")[0], _origin(error)
    if isinstance(error, BrokenProcessPool):
        return (
            "a worker was killed, and the others of this command ended with it; what they measured "
            "is kept: give the same command again"
        )
    if origin.startswith("submitit.core"):
        last = indent("\n".join(str(error).splitlines()[-LAST_WORDS:]), "  ")
        return f"a job ended without an answer; what it measured is kept; its last words:\n{last}"
    if origin.startswith("submitit."):
        raise UserError(f"the launcher cannot be used here: {reason}") from None
    if origin == "hydra.core.plugins":
        raise UserError(
            f"{GROUP}= names one that is not installed: pip install 'merit-opt[slurm]'"
        ) from None
    return None


def _origin(error: BaseException) -> str:
    """The module that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
