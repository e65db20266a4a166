"""The user's own overrides: as they are read, and as they can be typed again."""

import re
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from merit_opt.cli.launchers import WORKER
from merit_opt.errors import without_credentials

_AT_HOME = re.compile(r"""([^=]+=)(["']?)(~[^,"'\[\]{}]*)\2""")


def from_home(override: str) -> str:
    """`KEY=~/PATH` with the home folder in place of `~`, which Hydra reads only quoted."""
    match = _AT_HOME.fullmatch(override)
    if match is None:
        return override
    try:
        return f'{match[1]}"{Path(match[3]).expanduser()}"'
    except RuntimeError:  # there is no such user
        return override


def given(*groups: str, but: str = "") -> str:
    """Those of these groups (of all, if none is named) as words for a shell, each after a space.

    They are there to be shown, so that passwords are left out of them.
    """
    overrides = HydraConfig.get().overrides.task
    heads = {o: re.split(r"[.=@]", o.lstrip("+~"), maxsplit=1)[0] for o in overrides}
    wanted = groups or set(heads.values()) - {WORKER}
    kept = [o for o in overrides if heads[o] in wanted]
    shown = (without_credentials(o) for o in kept if not o.startswith(f"{but}="))
    return "".join(f" {shlex.quote(o)}" for o in shown)


def given_pair(option: str) -> str:
    """The pair's option, whoever chose it, and the user's own changes of it."""
    return f"pair={option}{given('pair', but='pair')}"
