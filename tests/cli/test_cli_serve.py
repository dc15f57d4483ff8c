"""``tierproxy serve`` and ``tierproxy demo`` as programs: signals, reload, the data found again."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tierproxy.cli.client import Door, ObjectClient, Unreachable
from tierproxy.cli.demo.home import BUCKET, Home
from tierproxy.cli.signals import MOMENT
from tierproxy.config.load import load
from tierproxy.config.sections import AltSection
from tierproxy.model import ObjectName

CONTENT = b"Subject: hello\r\n\r\nbody\r\n"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("TIERPROXY_", "AWS_"))}


class Served:
    """A ``tierproxy serve`` of its own; alt is an address where nobody answers."""

    def __init__(self, file: Path, process: subprocess.Popen[str]) -> None:
        self.file = file
        self.process = process

    def wait_for(self, event: str) -> str:
        """The next log line with ``event`` in it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if event in line:
                return line
        raise AssertionError(f"the program ended without {event!r}")


def configured(directory: Path) -> Path:
    home = Home(directory)
    alt = AltSection(endpoint="http://127.0.0.1:1", access_key_id="a", check_at_start=False, max_retries=0)
    directory.mkdir()
    home.alt_secret()
    home.write_config(home.config(alt, "127.0.0.1:0"))
    return home.config_file


@contextmanager
def serving(file: Path) -> Iterator[Served]:
    command = [sys.executable, "-m", "tierproxy", "serve", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            yield Served(file, process)
        finally:
            process.kill()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tierproxy", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=100, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_what_was_acknowledged_is_there_again(tmp_path: Path, number: int) -> None:
    file = configured(tmp_path / "home")
    with serving(file) as served:
        url = re.search(r"http://[\d.:]+", served.wait_for("ready"))
        assert url is not None
        with ObjectClient(door(file, url[0])) as client:
            answer = client.put(ObjectName(BUCKET, "a"), CONTENT, len(CONTENT), {"x-tierproxy-ack": "disk"})
            assert answer.headers["x-tierproxy-tiers"] == "disk"
        served.process.send_signal(number)
        served.wait_for("stopped")
        assert served.process.wait(60) == 0
    with serving(file) as served:
        url = re.search(r"http://[\d.:]+", served.wait_for("ready"))
        assert url is not None
        with ObjectClient(door(file, url[0])) as client:
            assert client.read(ObjectName(BUCKET, "a"))[1] == CONTENT
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


class SlowBody(io.RawIOBase):
    """A body that stops after its first byte until it is let go."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def read(self, _size: int = -1) -> bytes:
        if self.begun.is_set():
            self.let_go.wait(60)
            return b""
        self.begun.set()
        return b"x"


def test_a_second_interrupt_does_not_wait_for_a_client(tmp_path: Path) -> None:
    file, body = configured(tmp_path / "home"), SlowBody()
    with serving(file) as served, ThreadPoolExecutor(1) as clients:
        url = re.search(r"http://[\d.:]+", served.wait_for("ready"))
        assert url is not None
        with ObjectClient(door(file, url[0])) as client:
            upload = clients.submit(client.put, ObjectName(BUCKET, "slow"), cast(Any, body), 10)
            assert body.begun.wait(60)
            served.process.send_signal(signal.SIGINT)
            served.wait_for("stopping")
            with pytest.raises(subprocess.TimeoutExpired):
                served.process.wait(MOMENT + 0.5)
            served.process.send_signal(signal.SIGINT)
            assert served.process.wait(60) == -signal.SIGINT
            body.let_go.set()
            with pytest.raises(Unreachable):
                upload.result(60)


def door(file: Path, url: str) -> Door:
    host, _, port = url.removeprefix("http://").rpartition(":")
    key = load(file, {}).key[0]
    return Door(host, int(port), access_key_id=key.access_key_id, secret=key.secret)


def test_hup_takes_what_can_be_taken_and_names_the_rest(tmp_path: Path) -> None:
    file = configured(tmp_path / "home")
    with serving(file) as served:
        served.wait_for("ready")
        text = file.read_text()
        file.write_text(
            text.replace('max_bytes = "2GiB"', 'max_bytes = "3GiB"').replace("# threads = 8", "threads = 9")
        )
        served.process.send_signal(signal.SIGHUP)
        assert "disk.max_bytes" in served.wait_for("configuration in force")
        assert "disk.threads" in served.wait_for("options wait for a restart")
        file.write_text("[disk]\nmax_bite = 1\n")
        served.process.send_signal(signal.SIGHUP)
        assert "did you mean max_bytes" in served.wait_for("configuration not reloaded")
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


def test_a_second_interrupt_ends_an_offline_command_that_waits_for_alt(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "data").mkdir()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # connections are accepted by the kernel and never answered
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        home.alt_secret()
        home.write_config(home.config(AltSection(endpoint=url, access_key_id="a"), "127.0.0.1:0"))
        command = [sys.executable, "-m", "tierproxy", "catalogue", "sync", "--config", str(home.config_file)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            try:
                silent.settimeout(30)
                waiting, _ = silent.accept()
                with waiting:
                    process.send_signal(signal.SIGINT)
                    assert process.stderr is not None
                    said = iter(process.stderr.readline, "")
                    assert any("Ctrl-C again stops at once" in line for line in said)
                    process.send_signal(signal.SIGINT)
                    assert process.wait(60) == -signal.SIGINT
            finally:
                process.kill()


def test_a_second_node_on_the_same_directory_ends_with_5(tmp_path: Path) -> None:
    file = configured(tmp_path / "home")
    with serving(file) as served:
        served.wait_for("ready")
        second = run("serve", "--config", file)
        assert second.returncode == 5
        assert "is in use" in second.stderr
        assert f"stop process {served.process.pid}" in second.stderr
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


def test_an_address_that_is_taken_is_3(tmp_path: Path) -> None:
    first, second = configured(tmp_path / "one"), configured(tmp_path / "two")
    with serving(first) as served:
        url = re.search(r"127.0.0.1:\d+", served.wait_for("ready"))
        assert url is not None
        second.write_text(second.read_text().replace("127.0.0.1:0", url[0]))
        result = run("serve", "--config", second)
        assert result.returncode == 3
        assert "Traceback" not in result.stderr
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


@pytest.mark.slow
def test_the_demo_brings_every_mail_back_and_finds_them_again(tmp_path: Path) -> None:
    directory = tmp_path / "var"
    first = run("demo", "--once", "--mails", "12", "--port", "0", "--data", directory)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "every mail came back byte for byte" in first.stdout
    assert "put 12" in first.stdout
    second = run("demo", "--once", "--mails", "12", "--port", "0", "--data", directory)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "found again: 12 objects" in second.stdout
    assert "put" not in second.stdout
    for name in ("credentials", "secret", "alt-secret", "tierproxy.toml"):
        assert (directory / name).stat().st_mode & 0o077 == 0
    assert run("config", "check", "--config", directory / "tierproxy.toml").returncode == 0
    blob = next(path for path in sorted((directory / "data" / "blobs").rglob("*")) if path.is_file())
    assert blob.stat().st_size > 1000


@pytest.mark.parametrize("arguments", [["config", "describe"], ["--help"], ["--version"]])
def test_output_that_cannot_be_written_is_1_and_no_traceback(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "tierproxy", *arguments]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=100, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: cannot go on: No space left on device\nhint: ")


def test_an_interrupt_while_the_program_is_still_being_loaded_leaves_no_traceback() -> None:
    begin = "import os, signal, sys; sys.argv[1:] = ['config', 'describe']; import tierproxy.cli as cli"
    interrupt = (
        "sys.meta_path.insert(0, type('Finder', (), {'find_spec': lambda *_: os.kill(os.getpid(), signal.SIGINT)})())"
    )
    command = [sys.executable, "-c", f"{begin}; {interrupt}; cli.main()"]
    ended = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=100, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
