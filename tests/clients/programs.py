"""Client programs, run as their users run them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SECONDS = 60.0
INSTALL = "run tests/install-debian-packages.sh as root"


def find(program: str, beside: Path | None = None) -> str:
    """The path of ``program``. Where it is missing the test is skipped, and in CI (``CI`` is set) it fails."""
    found = shutil.which(program, path=str(beside)) if beside else shutil.which(program)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed: {INSTALL}")
        pytest.skip(f"{program} is not installed: {INSTALL}")
    return found


class Program:
    """A client program with the environment it needs."""

    def __init__(self, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        self._command = command
        self._environment = dict(environment)
        self._directory = directory

    def also(self, **environment: str) -> Program:
        """The same with more in its environment."""
        return Program(self._command, self._environment | environment, self._directory)

    def run(self, *arguments: str | Path, stdin: bytes = b"", fails: bool = False) -> bytes:
        """Run it and return its standard output. It must end with 0, or not, when it ``fails``; then what it said on
        standard error is returned as well."""
        command = [*self._command, *map(str, arguments)]
        done = subprocess.run(
            command, input=stdin, capture_output=True, env=self._environment, cwd=self._directory, timeout=SECONDS,
            check=False,
        )  # fmt: skip
        said = (
            f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr).decode(errors='replace')}"
        )
        assert (done.returncode != 0) is fails, said
        return done.stdout + done.stderr if fails else done.stdout

    def lines(self, *arguments: str | Path) -> list[str]:
        """The lines of its standard output."""
        return self.run(*arguments).decode().splitlines()
