"""What a process that decodes may not do: reach a network, or know a password.

A file that takes a decoder over then has nobody to talk to. Linux alone offers this to any process;
elsewhere the process is as free as its user.
"""

import ctypes
import errno
import platform
import re
import struct
import sys
from collections.abc import Mapping

from merit_opt.errors import without_credentials

SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|_URI$|_URL$", re.IGNORECASE)

PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER, ALL_THREADS = 1, 1
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER_AT, MACHINE_AT = 0, 4
IO_URING_SETUP, OF_ANOTHER_KIND = 425, 0x40000000
# Machine -> its mark, its numbers of socket and seccomp.
MACHINES = {"x86_64": (0xC000003E, 41, 317), "aarch64": (0xC00000B7, 198, 277)}


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that hold no password.

    Neither their names say that they hold one, a key or an address, nor is one in an address that
    they hold.
    """
    return {
        name: value
        for name, value in environment.items()
        if not SECRET.search(name) and without_credentials(value) == value
    }


def refuse_network() -> bool:
    """Have the system refuse every new socket to this process and those it starts.

    Returns:
        Whether it does; an old kernel, another system or another machine may not.
    """
    if sys.platform != "linux" or platform.machine() not in MACHINES:
        return False
    mark, socket, seccomp = MACHINES[platform.machine()]
    code = _program(mark, socket)
    lines = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(lines))
    system = ctypes.CDLL(None)
    system.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    done = system.syscall(seccomp, SECCOMP_SET_MODE_FILTER, ALL_THREADS, ctypes.byref(program))
    return done == 0


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _program(mark: int, socket: int) -> bytes:
    """For the kernel: calls of another machine's or kind's numbers are refused, and two more."""
    lines = (
        (LOAD, 0, 0, MACHINE_AT),
        (EQUAL, 0, 5, mark),
        (LOAD, 0, 0, NUMBER_AT),
        (AT_LEAST, 3, 0, OF_ANOTHER_KIND),
        (EQUAL, 2, 0, socket),
        (EQUAL, 1, 0, IO_URING_SETUP),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    )
    return b"".join(struct.pack("HBBI", *line) for line in lines)
