"""promtool (Debian's package prometheus), where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and os.environ.get("CI") != "true", reason="promtool is not installed (Debian: prometheus)"
)


def promtool(*arguments: str | Path, text: str = "") -> str:
    """What it says; an error is a failed test."""
    assert PROMTOOL is not None, "CI must not skip this: install Debian's prometheus"
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
