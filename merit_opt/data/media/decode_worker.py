"""The process that decodes: asked on its standard input, it answers on its standard output.

It imports what decoding needs and no more, ends with the process that started it, leaves Ctrl-C to
that one, and reaches no network where the system can see to that.
"""

import ctypes
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader
from typing import IO

from merit_opt.data.media.confinement import refuse_network
from merit_opt.data.media.decoded import Frames
from merit_opt.data.media.medium import Medium
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.wire import Message, job_of, medium_message, receive, send
from merit_opt.errors import UserError

PR_SET_PDEATHSIG = 1


def main(parent: int, memory: int, reader: str) -> None:
    """Answer until nobody asks any more.

    Args:
        parent: The process that started this one.
        memory: Bytes of address space that may be used, where the system lets us say so.
        reader: MODULE:NAME of what reads: (media, plan, decoder) -> medium.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print what is no answer
    _end_with(parent)
    _limit(memory)
    refuse_network()
    with suppress(EOFError, BrokenPipeError):
        _answer_all(os.fdopen(0, "rb"), answers, reader)


def _answer_all(questions: BufferedReader, answers: IO[bytes], reader: str) -> None:
    try:
        module, _, name = reader.partition(":")
        read = getattr(importlib.import_module(module), name)
        send(answers, {"ready": os.getpid()})
        while True:
            message, _ = receive(questions)
            send(answers, *_answer(read, message))
    except (BrokenPipeError, EOFError):
        raise
    except Exception:  # a fault of ours, which whoever asked raises
        send(answers, {"fault": traceback.format_exc()})
        raise


def _answer(read: Callable[..., Medium], message: Message) -> tuple[Message, Frames | None]:
    try:
        return medium_message(read(*job_of(message)))
    except MediaError as error:
        return {"failed": error.reason, "path": str(error.path)}, None
    except UserError as error:
        return {"refused": str(error)}, None
    except MemoryError:
        return {"memory": True}, None


def _end_with(parent: int) -> None:
    """Have the system kill this process when its parent ends, even inside a decoder that hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before we could say so
            os._exit(1)


def _limit(memory: int) -> None:
    with suppress(ImportError, ValueError, OSError):
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
