"""``make demo-dovecot``: the whole story, and its end by Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from typer.testing import CliRunner

from tests.clients.proxy import clean_environment
from tests.dovecot.conftest import need_dovecot, need_fuse
from tierproxy.cli.demo import dovecot_host
from tierproxy.cli.demo.dovecot_story import SIZES, Step, made, told
from tierproxy.cli.outcome import ExitCode
from tierproxy.cli.program import app

COMMAND = [sys.executable, "-m", "tierproxy", "demo-dovecot", "--mails", "5"]


def started(tmp_path: Path) -> subprocess.Popen[str]:
    need_dovecot()
    need_fuse()
    environment = {**clean_environment(), "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        COMMAND, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )


def left_behind(directory: Path) -> list[str]:
    """Processes and mounts that know of ``directory``."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(directory) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(directory) in words:
            mounts.append(words)
    return mounts


@pytest.fixture
def short() -> Iterator[Path]:
    """Short enough for the sockets below it, and the owner of all mail may pass through it."""
    with TemporaryDirectory(prefix="tpd-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.clients
def test_every_step_holds(short: Path) -> None:
    process = started(short)
    text, _ = process.communicate(timeout=180)
    assert process.returncode == 0, text
    assert "FAILED" not in text
    assert len(re.findall(r"^ok +\S", text, flags=re.MULTILINE)) == 16
    assert re.search(r"bodies of purged mail\s*│\s*3\s*│\s*3 GET", text)
    assert (left_behind(short), list(short.iterdir())) == ([], [])


@pytest.mark.clients
def test_ctrl_c_leaves_nothing_behind(short: Path) -> None:
    process = started(short)
    assert process.stdout is not None
    lines: list[str] = []
    while not any("deliver by LMTP" in line for line in lines):
        lines.append(process.stdout.readline())
        assert lines[-1], "".join(lines)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: everybody in the group gets it
    rest, _ = process.communicate(timeout=120)
    assert process.returncode not in {0, ExitCode.FAILED}, "".join(lines) + rest
    assert (left_behind(short), list(short.iterdir())) == ([], [])


def test_without_dovecot_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(dovecot_host, "_there", lambda name: False)
    result = CliRunner().invoke(app, ["demo-dovecot"])
    assert result.exit_code == ExitCode.CONFIG
    assert "apt-get install dovecot-core" in result.output


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(app, ["demo-dovecot"])
    assert (result.exit_code, "root" in result.output) == (ExitCode.CONFIG, True)


@pytest.mark.parametrize(
    ("wanted", "requests", "held"),
    [
        (Counter(PUT=2), Counter(PUT=2), True),
        (Counter(PUT=2), Counter(PUT=3), False),
        (Counter(PUT=2), Counter(PUT=2, HEAD=1), False),
        (Counter(), Counter(GET=1), False),
        (Counter(COPY=1), Counter(COPY=1), True),
        (Counter(COPY=1), Counter(COPY=1, HEAD=1), False),
        (Counter(COPY=1), Counter(COPY=1, GET=1), False),
        (None, Counter(LIST=1), True),
        (None, Counter(GET=1), False),
        (None, Counter(PUT=1), False),
    ],
)
def test_a_step_holds_only_if_s3_saw_what_it_should(
    wanted: Counter[str] | None, requests: Counter[str], held: bool
) -> None:
    step = Step("x", 1, wanted, requests)
    step.judge()
    assert (not step.failed) is held


def test_mails_of_the_story_are_larger_than_a_stub_and_the_same_every_time() -> None:
    mails = made(3)
    assert all(len(one.content) >= SIZES.start for one in mails)
    assert [one.sha256 for one in mails] == [one.sha256 for one in made(3)]
    assert (told(Counter(COPY=1, DELETE=1)), told(Counter())) == ("1 COPY, 1 DELETE", "nothing")
