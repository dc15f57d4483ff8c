"""The command line: one file per command group; ``main`` is what the ``tierproxy`` program calls."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """The program. The commands are imported here, not above: a Ctrl-C meanwhile ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tierproxy.cli.outcome import output_failed  # noqa: PLC0415 -- see above
    from tierproxy.cli.program import app  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        app(prog_name="tierproxy")
    except OSError as error:
        sys.exit(output_failed(error))
