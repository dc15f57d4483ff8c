"""The process that ends itself, and the clock that jumps."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tierproxy.disk.fsio import Files
from tierproxy.testing.doomed import (
    ALT_CALLS,
    FILE_CALLS,
    CallsFile,
    Doom,
    DoomedAlt,
    DoomedFiles,
    Point,
    SetClock,
    set_clock,
)


class Ended(Exception):
    """Instead of SIGKILL."""


def _end() -> None:
    raise Ended


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_nth_call_of_its_kind_is_the_last(tmp_path: Path, when: str) -> None:
    files = DoomedFiles(Doom(Point.parse(f"files:rename:2:{when}"), end=_end))
    for name in ("a", "c"):
        (tmp_path / name).touch()
    files.rename(tmp_path / "c", tmp_path / "d")
    files.unlink(tmp_path / "d")
    with pytest.raises(Ended):
        files.rename(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").exists() == (when == "after")


def test_of_several_points_the_first_that_comes_counts(tmp_path: Path) -> None:
    points = [Point.parse(text) for text in ("files:rename:1:before", "files:mkdir:2:before", "files:unlink:1:before")]
    files = DoomedFiles(Doom(*points, end=_end))
    files.mkdir(tmp_path / "a")
    with pytest.raises(Ended):
        files.mkdir(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_call_of_alt_has_happened_when_the_process_ends_after_it() -> None:
    happened: list[str] = []

    class Alt:
        async def put(self, name: str) -> str:
            happened.append(name)
            return "etag"

        def close(self) -> str:
            return "closed"

    alt = DoomedAlt(Alt(), Doom(Point.parse("alt:put:2:after"), end=_end))  # type: ignore[arg-type]
    assert asyncio.run(alt.put("one")) == "etag"
    with pytest.raises(Ended):
        asyncio.run(alt.put("two"))
    assert happened == ["one", "two"]
    assert alt.close() == "closed"


@pytest.mark.parametrize("text", ["files:rename:0:before", "files:nothing:1:before", "alt:put:1:during", "rename:1"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a point"):
        Point.parse(text)


@pytest.mark.parametrize("text", ["files:fsync:3:before", "catalogue:publish:12:after", "alt:copy:1:after"])
def test_a_point_reads_as_it_is_written(text: str) -> None:
    assert str(Point.parse(text)) == text


def test_every_call_named_is_one() -> None:
    assert all(callable(getattr(Files, kind)) for kind in FILE_CALLS)
    from tierproxy.alt.s3 import S3Alt

    assert all(callable(getattr(S3Alt, kind)) for kind in ALT_CALLS)


def test_the_process_is_killed_by_a_signal(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from tierproxy.testing.doomed import Doom, DoomedFiles, Point\n"
        f"DoomedFiles(Doom(Point.parse('files:mkdir:1:after'))).mkdir(Path({str(tmp_path / 'made')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "made").is_dir()


def test_calls_are_counted_where_a_killed_process_leaves_the_count(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from tierproxy.testing.doomed import CallsFile, Doom, DoomedFiles, Point\n"
        f"doom = Doom(Point.parse('files:mkdir:2:before'), calls=CallsFile(Path({str(tmp_path / 'calls')!r})))\n"
        f"for name in 'ab': DoomedFiles(doom).mkdir(Path({str(tmp_path)!r}) / name)\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert CallsFile.read(tmp_path / "calls") == {("files", "mkdir"): 2}
    assert (tmp_path / "a").is_dir()
    assert not (tmp_path / "b").exists()
    assert not CallsFile.read(tmp_path / "none")


def test_a_process_says_which_tasks_and_threads_it_has(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, signal, uvloop\n"
        "from pathlib import Path\n"
        "from tierproxy.testing.doomed import show_what_runs\n"
        "async def main():\n"
        "    asyncio.create_task(asyncio.sleep(60), name='sleeper')\n"
        "    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    while not Path('look').exists(): await asyncio.sleep(0.01)\n"
        "show_what_runs(Path('look'))\n"
        "uvloop.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True, cwd=tmp_path)
    found = json.loads((tmp_path / "look").read_text())
    assert found["tasks"]["sleeper"] == 1
    assert found["threads"] == {"MainThread": 1}


def test_a_clock_jumps_when_it_is_told_to(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    set_clock(file, 0.0)
    clock = SetClock(file)
    before, monotonic = clock.now(), clock.monotonic()
    assert before == pytest.approx(time.time(), abs=60)
    set_clock(file, -86_400.0)
    assert clock.now() == pytest.approx(before - 86_400, abs=60)
    assert clock.monotonic() >= monotonic
