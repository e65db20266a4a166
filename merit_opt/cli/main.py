"""The console script: a verb, then Hydra overrides."""

import os
import sys
import traceback
from difflib import get_close_matches
from types import TracebackType

from merit_opt.cli.masked import masked_output
from merit_opt.errors import UserError, without_credentials

FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130
VERBS = {
    "search": "run, resume or join a study; with no arguments the embedded demo, in minutes",
    "evaluate": "measure one recipe on a suite, paired against the unmerged VLM",
    "attribute": "say which layers a recipe works through: scan, masks, slopes, neighbours",
    "export": "write a recipe as a checkpoint that from_pretrained loads",
    "report": "tables, figures and one self-contained page about a study",
    "check": "say every problem with pair, suite, storage and device; loads no weights",
    "plant": "make a tiny VLM with damage planted in chosen layers",
}
EXAMPLES = """
examples:
  merit-opt search
  merit-opt search space=merit sampler=cmaes study.trials=200 seed=1
  merit-opt search -m seed=0,1 sampler=tpe,cmaes
  merit-opt search -m study.name=a 'worker=range(0,4)' hydra/launcher=joblib
  merit-opt evaluate recipe=study:NAME suite.seed=1
  merit-opt attribute recipe=study:NAME method=mask
  merit-opt export recipe=study:NAME out=merged
  merit-opt report study=NAME
  merit-opt search --help      every option group and key of a verb
  merit-opt search --cfg job   the composed configuration
"""


def main() -> None:
    """Run the verb named first on the command line and exit with its code."""
    sys.excepthook = show_trace
    sys.exit(run(sys.argv[1:]))


def show_trace(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """What Python shows of a bug, without passwords."""
    lines = traceback.format_exception(kind, error, trace)
    print(without_credentials("".join(lines)), file=sys.stderr, end="")


def run(arguments: list[str]) -> int:
    """0 when the job was done, 2 for a user's error, 130 after Ctrl-C."""
    verb, *rest = arguments or ["--help"]
    if verb in ("-h", "--help", "help"):
        print(_help())
        return 0
    if verb == "--version":
        print(_version())
        return 0
    if verb not in VERBS:
        near = get_close_matches(verb, VERBS, n=1, cutoff=0.0)[0]
        return tell(f"there is no verb {verb!r}; did you mean `merit-opt {near}`?")
    return _run_verb(verb, rest)


def _run_verb(verb: str, arguments: list[str]) -> int:
    from merit_opt.search.interrupts import interrupts_held

    try:
        # Libraries that load, and Hydra, may swallow a Ctrl-C.
        with masked_output(), interrupts_held():
            from merit_opt.cli.app import launch  # heavy: --help must answer at once

            return launch(verb, arguments)
    except UserError as error:
        return tell(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def tell(message: str, code: int = USER_ERROR) -> int:
    """Say it on stderr; the exit code that goes with it."""
    print(f"merit-opt: {without_credentials(message)}", file=sys.stderr)
    return code


def _help() -> str:
    verbs = "\n".join(f"  {verb:<11}{what}" for verb, what in VERBS.items())
    return f"usage: merit-opt VERB [KEY=VALUE …]\n\nverbs:\n{verbs}\n{EXAMPLES}"


def _version() -> str:
    from importlib.metadata import version

    return f"merit-opt {version('merit-opt')}"
