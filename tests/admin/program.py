"""A stand-in for the commands that jobs run: does what its first argument says."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def progress(done: int) -> None:
    print(json.dumps({"phase": "counting", "done": done, "total": 3, "unit": "events"}), file=sys.stderr, flush=True)


def wish() -> object:
    """As a command reads ``--wish /dev/stdin``."""
    return json.loads(Path("/dev/stdin").read_text())


def main(what: str, *arguments: str) -> int:
    if what == "good":
        for done in range(4):
            progress(done)
        print(json.dumps({"wish": wish(), "nice": os.nice(0), "arguments": arguments}))
    elif what == "wrong":
        print("error: this cannot be used\nhint: write it differently", file=sys.stderr)
        print(json.dumps({"faults": [{"level": "error", "line": 3, "text": "no such word"}]}))
        return 3
    elif what == "garbage":
        print("nonsense")
    elif what == "large":
        print("x" * 9_000_000)
    elif what in {"endless", "stubborn"}:
        if what == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(arguments[0]).write_text(str(os.getpid()))
        progress(1)
        time.sleep(600)
    elif what == "family":
        child = os.fork()
        if not child:
            time.sleep(600)
        Path(arguments[0]).write_text(str(child))
        time.sleep(600)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
