"""``python -m tierproxy.admin.leash PARENT PROGRAM ARGUMENT...``: become PROGRAM, of low priority, that dies with its
parent.

A node that is killed cannot end its children, and one that goes on for an hour beside the next node would take the
processor from it: Linux ends the child itself (prctl(2), PR_SET_PDEATHSIG, which survives execve). A program of its own
and no ``preexec_fn``, because Python code between fork and exec may hang in a process that has threads. Elsewhere than
on Linux only the priority is lowered.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

NICE = 15  #: of 19: long work takes what the node leaves
PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Does not return."""
    parent, *program = arguments
    os.nice(NICE)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it ended before the kernel knew that we follow it
        raise SystemExit(1)
    try:
        os.execv(program[0], program)  # noqa: S606  that is what it is for
    except OSError as error:
        raise SystemExit(f"cannot run {program[0]}: {error.strerror}") from error


if __name__ == "__main__":
    main(sys.argv[1:])
