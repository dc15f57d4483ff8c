"""A short run of the comparison with peers: everybody that the tests install is measured, and answers rightly; and a
server that answers wrongly is found."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.loadtests.test_load_scripts import ENVIRONMENT, ROOT, run

SHORT = (
    "--rounds", "1", "--seconds", "0.1", "--objects", "40", "--cold", "20", "--large", "1", "--rest", "0.1",
    "--no-install", "--workers", "0", "--peers", "nginx", "seaweed", "obstore", "boto3",
)  # fmt: skip
TABLES = {
    "hits without signature": {
        "tierproxy memory", "tierproxy disk", "nginx static", "nginx proxy_cache", "SeaweedFS filer",
    },
    "hits with SigV4": {"tierproxy memory, SigV4", "tierproxy disk, SigV4", "SeaweedFS S3"},
    "misses, 16 KiB, 1 at once, SigV4": {
        "obstore straight", "obstore through tierproxy", "boto3 straight", "boto3 through tierproxy",
    },
    "misses, 16 KiB, 16 at once, HTTP": {
        "tierproxy", "tierproxy, never heard of", "SeaweedFS S3", "SeaweedFS filer", "nginx proxy_cache",
    },
    "PUT, 16 KiB, 16 at once": {
        "tierproxy, ack both", "tierproxy, ack disk", "tierproxy, ack alt", "SeaweedFS S3", "SeaweedFS filer",
        "nginx DAV, not durable", "plain write + fsync", "plain write + fsync of file and directory",
    },
    "mail, 80% reads": {
        "tierproxy, ack both", "tierproxy, ack disk", "SeaweedFS S3", "SeaweedFS filer", "nginx DAV, not durable",
    },
    "GET, 1 MiB": {"tierproxy", "nginx static", "nginx proxy_cache", "SeaweedFS filer", "SeaweedFS S3"},
    "PUT, 1 MiB": {"tierproxy, ack both", "SeaweedFS S3", "nginx DAV, not durable", "plain write + fsync"},
    "HEAD": {"tierproxy", "nginx static", "nginx proxy_cache", "SeaweedFS filer", "SeaweedFS S3"},
    "LIST": {"tierproxy, SigV4", "tierproxy, not synced: asks alt, SigV4", "SeaweedFS S3"},
}  # fmt: skip
GOALS = (
    "hits, tierproxy memory, beside nginx proxy_cache", "hits, tierproxy disk, beside nginx proxy_cache",
    "hits, tierproxy memory, SigV4, beside SeaweedFS S3",
    "hits, tierproxy memory: reads counted beside answers received",
    "miss, obstore, 16 at once: rate", "miss, obstore, 1 at once: added to the median, ms",
    "PUT, ack disk, 16 at once: rate beside plain write + fsync",
)  # fmt: skip


def rows(output: str) -> dict[str, set[str]]:
    """Names of the rows below each title."""
    found: dict[str, set[str]] = {}
    title = ""
    for line in output.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            title = line or title
        elif not line.startswith("|-") and cells[0] not in ("contender", "goal"):
            found.setdefault(title, set()).add(cells[0])
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/usr/sbin/nginx").exists(), reason="no nginx (tests/install-debian-packages.sh)")
def test_everybody_is_measured_and_answers_rightly(tmp_path: Path) -> None:
    output = run("bench_compare.py", *SHORT, "--dir", tmp_path, seconds=250)
    found = rows(output)
    for table, wanted in TABLES.items():
        assert any(title.startswith(table) and wanted <= names for title, names in found.items()), f"{table}\n{output}"
    assert "left out" not in output
    assert all(f"| {goal} " in output for goal in GOALS), output
    counted = re.findall(r"\| hits, tierproxy [^|]*: reads counted[^|]*\| ([\d.]+)", output)
    assert counted
    assert all(1 <= float(ratio) < 3 for ratio in counted), counted
    assert not list(tmp_path.iterdir())


def test_the_comparison_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "loadtests" / "bench_compare.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=True)
    assert all(option in done.stdout for option in ("--only", "--rounds", "--seconds", "--peers", "--write", "--quick"))


def test_a_part_of_a_run_is_not_recorded() -> None:
    command = [sys.executable, str(ROOT / "loadtests" / "bench_compare.py"), "--only", "hits", "--write"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)
    assert done.returncode == 2
    assert "--write records a whole run" in done.stderr


# ---------------------------------------------------------------- nobody is fast by serving errors


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The bench's own modules, which are programs' and not on the path."""
    monkeypatch.syspath_prepend(str(ROOT / "loadtests"))
    before = set(sys.modules)
    names = ("compare.client", "compare.peers", "compare.findings", "measuring", "served")
    found: dict[str, ModuleType] = {name.rpartition(".")[2]: import_module(name) for name in names}
    yield SimpleNamespace(**found)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(ROOT / "loadtests")):
            del sys.modules[name]


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, int]]:
    """A server that says the same to everybody, again and again."""

    serving: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        with suppress(ConnectionError):
            while await reader.readline():
                while (await reader.readline()).strip():
                    pass
                writer.write(answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        server.close()
        await asyncio.gather(*serving)
        await server.wait_closed()


async def asked(modules: SimpleNamespace, answer: bytes, method: str = "GET") -> Any:
    async with answering(answer) as address:
        server = modules.peers.Server("somebody", address)
        requests = [modules.client.ask(server, method, "name", least=5 if method == "GET" else 0)] * 3
        return await modules.client.exchange(server, requests, 1, 10)


async def test_answers_that_are_right_count(modules: SimpleNamespace) -> None:
    assert (await asked(modules, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright")).asked == 3
    assert (
        await asked(modules, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n")
    ).asked == 3
    assert (await asked(modules, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD")).asked == 3


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 503 Slow\r\nContent-Length: 5\r\n\r\nright", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nshor"],
    ids=["an error", "a short body"],
)
async def test_answers_that_are_wrong_end_the_run(modules: SimpleNamespace, answer: bytes) -> None:
    with pytest.raises(modules.served.Failed, match="somebody"):
        await asked(modules, answer)


async def test_other_bytes_of_the_same_length_are_found(modules: SimpleNamespace) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong") as address:
        server = modules.peers.Server("somebody", address)
        await asyncio.to_thread(modules.client.check, server, [("name", b"wrong")], hit=True)
        with pytest.raises(modules.served.Failed, match="not its own"):
            await asyncio.to_thread(modules.client.check, server, [("name", b"right")], hit=False)


async def test_a_miss_is_not_taken_for_a_hit(modules: SimpleNamespace) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nX-Cache-Status: MISS\r\nContent-Length: 5\r\n\r\nright") as address:
        server = modules.peers.Server("somebody", address, hit=lambda of: of["x-cache-status"] == "HIT")
        with pytest.raises(modules.served.Failed, match="did not come from its cache"):
            await asyncio.to_thread(modules.client.check, server, [("name", b"right")], hit=True)


# ---------------------------------------------------------------- what is written down


def test_tables_have_medians_ratios_and_spread_and_charts_are_drawn(modules: SimpleNamespace, tmp_path: Path) -> None:
    def contender(name: str, *rates: float) -> Any:
        one = modules.measuring.Contender(name, None)
        one.samples += [modules.client.Taken(rate, 1.0, 2.0, 0.5, 30.0, 7) for rate in rates]
        return one

    ours, theirs = contender("tierproxy memory", 300, 100, 200), contender("nginx proxy_cache", 100)
    findings = modules.findings.Findings()
    findings.add("hits, short", [ours, theirs], [theirs, None], chart="hits")
    assert re.search(
        r"tierproxy memory +\| 200 +\| 100-300 +\| 2.00 +\| 1.00 +\| 2.00 +\| 0.50 +\| 30 ", findings.tables[0][1]
    )
    findings.draw(tmp_path)
    texts = [one.text for one in ET.parse(tmp_path / "hits.svg").iter() if one.tag.endswith("text")]
    assert {"tierproxy memory", "nginx proxy_cache", "200", "100"} <= set(texts)


PAGE = """<!-- numbers: begin -->
<!-- numbers: end -->
<!-- compare: begin -->
| goal | measured | wanted | met |
|------|----------|--------|-----|
| hits, tierproxy memory, beside nginx proxy_cache | 0.90 | at least 1.2 | no |
| hits, tierproxy memory, workers 2, beside nginx proxy_cache | 1.30 | at least 1.2 | yes |
| PUT, ack disk, 1 at once: rate beside plain write + fsync | 0.90 | at least 0.75 | yes |
| PUT, ack disk, 16 at once: rate beside plain write + fsync | 0.50 | at least 0.75 | no |
<!-- compare: end -->
"""


def test_of_settings_the_best_counts_and_of_loads_the_worst(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    command = [sys.executable, str(ROOT / "loadtests" / "numbers_to_hold.py"), "--page", str(page)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r"hits from memory, 16 KiB, beside nginx proxy_cache +\| at least 1.2 +\| 1.30 +\| yes", output)
    assert re.search(r"PUT, ack disk: rate beside plain write \+ fsync +\| at least 0.75 +\| 0.50 +\| no", output)
    assert re.search(r"10,000,000 entries: plan, s +\| at most 20 +\| - +\| not measured", output)
    assert output.strip() in page.read_text()


def test_the_numbers_to_hold_are_those_of_the_sections() -> None:
    command = [sys.executable, str(ROOT / "loadtests" / "numbers_to_hold.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"run loadtests/numbers_to_hold.py\n{done.stdout}"
