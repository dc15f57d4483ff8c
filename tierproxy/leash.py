"""``python -m tierproxy.leash NICE PARENT PROGRAM ARGUMENT...``: become PROGRAM, by NICE less urgent, that dies with
its parent.

A node that is killed cannot end its children, and one that goes on beside the next node would take the processor from
it, or hold its address: Linux ends the child itself (prctl(2), PR_SET_PDEATHSIG, which survives execve). A program of
its own and no ``preexec_fn``, because Python code between fork and exec may hang in a process that has threads; and not
the child's own first step, because until a child of ours has imported what it needs most of a second passes. What the
kernel takes for the parent is the thread that has started it. Elsewhere than on Linux only the priority is lowered.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def leashed(nice: int = 0) -> list[str]:
    """What to put before a command to run it like that, as a child of this process. ``nice``: as nice(1)."""
    return [sys.executable, "-m", "tierproxy.leash", str(nice), str(os.getpid())]


def main(arguments: list[str]) -> None:
    """Does not return."""
    nice, parent, *program = arguments
    os.nice(int(nice))
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
