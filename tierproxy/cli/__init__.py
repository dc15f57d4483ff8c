"""The command line: one file per command group; ``main`` is what the ``tierproxy`` program calls."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """The program. The commands are imported here, not above: until then Ctrl-C ends the process at once."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tierproxy.cli.outcome import system_failed
    from tierproxy.cli.program import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="tierproxy")
    except OSError as error:
        sys.exit(system_failed(error))
