"""``tierproxy serve`` with hit workers, as an operator runs it."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.test_cli_serve import CONTENT, configured, door, run, serving
from tierproxy.cli.client import ObjectClient
from tierproxy.cli.demo.home import BUCKET
from tierproxy.config.load import examine, load
from tierproxy.config.sections import Config, ListenSection, MemorySection, NodeSection
from tierproxy.config.values import Size
from tierproxy.model import ObjectName
from tierproxy.near.versions import table_path
from tierproxy.wiring_worker import setup_of, share_of_memory


def with_workers(directory: Path) -> Path:
    file = configured(directory)
    file.write_text(file.read_text().replace("# workers = 0", "workers = 2"))
    assert "\nworkers = 2" in file.read_text()
    return file


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def eventually(reached: Callable[[], bool]) -> bool:
    for _ in range(1000):
        if reached():
            return True
        threading.Event().wait(0.01)
    return False


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signed_reads_are_answered_by_workers_which_end_with_the_node(tmp_path: Path, number: signal.Signals) -> None:
    file = with_workers(tmp_path / "home")
    with serving(file) as served:
        url = re.search(r"http://[\d.:]+", served.wait_for("ready"))
        assert url is not None
        workers = children(served.process.pid)
        assert len(workers) == 2
        for pid in workers:
            told = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            assert door(file, url[0]).secret.encode() not in told
        for _ in range(4):
            with ObjectClient(door(file, url[0])) as client:
                client.put(ObjectName(BUCKET, "a"), CONTENT, len(CONTENT), {"x-tierproxy-ack": "disk"})
                for _ in range(5):
                    assert client.read(ObjectName(BUCKET, "a"))[1] == CONTENT
        served.process.send_signal(number)
        assert served.process.wait(60) == (0 if number == signal.SIGTERM else -number)
        assert eventually(lambda: all(map(gone, workers)))
    table_path(Path(load(file, {}).node.data_dir)).unlink(missing_ok=True)  # what a killed node leaves to the next one


def test_a_terminal_that_interrupts_everybody_ends_it_in_order(tmp_path: Path) -> None:
    file = with_workers(tmp_path / "home")
    with serving(file) as served:
        served.wait_for("ready")
        workers = children(served.process.pid)
        for pid in (*workers, served.process.pid):
            os.kill(pid, signal.SIGINT)
        served.wait_for("stopped")
        assert served.process.wait(60) == 0
        assert eventually(lambda: all(map(gone, workers)))


@pytest.mark.parametrize(
    ("text", "doubtful"),
    [
        ("[listen]\nworkers = 1", False),
        ("[listen]\nworkers = 1\nhit_lane = false", True),
        ("[listen]\nworkers = 1\n[node]\naccess_log = true", True),
    ],
)
def test_workers_that_could_not_answer_are_doubtful_and_not_started(tmp_path: Path, text: str, doubtful: bool) -> None:
    file = tmp_path / "tierproxy.toml"
    alt = '\n[alt]\nendpoint = "http://127.0.0.1:1"\n[[bucket]]\nname = "mail"\n[[key]]\naccess_key_id = "a"\n'
    file.write_text(text + alt + 'secret = "0123456789012345678901234567890123456789"\n')
    loaded = examine(file, {})
    assert any("workers has no effect" in warning for warning in loaded.warnings) is doubtful
    assert loaded.config.hit_workers == (0 if doubtful else 1)


def test_workers_without_an_address_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "tierproxy.toml"
    file.write_text('[listen]\nworkers = 1\naddress = ""\nunix_socket = "/tmp/x"\nauth = "none"\n')
    result = run("config", "check", "--config", file)
    assert result.returncode == 3
    assert "share the TCP address" in result.stderr


def test_memory_is_divided_and_a_worker_is_told_no_secret_of_alt() -> None:
    config = Config(memory=MemorySection(max_bytes=Size(90)), listen=ListenSection(workers=2))
    assert share_of_memory(config).memory.max_bytes == 30
    assert share_of_memory(replace(config, node=NodeSection(access_log=True))).memory.max_bytes == 90
    secret = replace(config, alt=replace(config.alt, secret_access_key="of-alt-alone"))
    assert b"of-alt-alone" not in setup_of(secret)
