"""The demo's memory of earlier runs, and what it calls wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from tests.cli.live import live_node
from tierproxy.cli.client import Answer, Door, ObjectClient, Unreachable
from tierproxy.cli.demo.home import BUCKET, Delivered, Home
from tierproxy.cli.demo.play import CLIENTS, Phase, Player
from tierproxy.cli.demo.report import to_try
from tierproxy.cli.demo.show import Demo
from tierproxy.cli.objects import store_file
from tierproxy.cli.words import ago, bytes_text
from tierproxy.clock import SystemClock
from tierproxy.config.load import load
from tierproxy.config.sections import AltSection
from tierproxy.errors import ConfigError
from tierproxy.model import ObjectName
from tierproxy.offload import ThreadPool
from tierproxy.rules.language import parse
from tierproxy.rules.lint import accept

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "rules.toml"
MAIL = Delivered(3, "alice/u.4", 5, "00")


def test_the_manifest_outlives_a_torn_line(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.manifest() == {}
    home.remember(MAIL)
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write('{"number": 4, "key": "bo')
    assert home.manifest() == {3: MAIL}


def test_a_mail_delivered_after_a_torn_line_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"number": 4, "key": "bo')
    home = Home(tmp_path)
    home.remember(MAIL)
    assert home.manifest() == {3: MAIL}


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.secret() == Home(tmp_path).secret() != home.alt_secret()
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    home.write_credentials()
    assert f"AWS_SECRET_ACCESS_KEY={home.secret()}" in home.credentials_file.read_text()
    (tmp_path / "secret").write_text("")
    with pytest.raises(ConfigError, match="is empty"):
        home.secret()


def test_the_first_run_has_rules_without_a_doubt_about_them_and_a_later_one_keeps_what_was_made_of_them(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    home.write_rules()
    rules, findings = accept(home.rules_file.read_text(), now=0.0)
    assert [rule.name for rule in rules.rules] == [rule.name for rule in parse(EXAMPLE.read_text()).rules]
    assert findings == []
    assert home.config(AltSection(), "127.0.0.1:9300").purge.rules == str(home.rules_file)
    home.rules_file.write_text("changed")
    home.write_rules()
    assert home.rules_file.read_text() == "changed"


def test_the_written_configuration_is_the_one_in_force(tmp_path: Path) -> None:
    home = Home(tmp_path)
    config = home.config(AltSection(access_key_id="a"), "127.0.0.1:9300")
    home.write_config(config)
    assert home.secret() not in home.config_file.read_text()
    found = load(home.config_file, {})
    assert (found.key[0].secret, found.alt.secret_access_key) == (home.secret(), home.alt_secret())
    assert (found.listen, found.disk, found.bucket) == (config.listen, config.disk, config.bucket)


def test_the_lines_to_try_show_no_secret(tmp_path: Path) -> None:
    home = Home(tmp_path)
    text = to_try(home, "http://127.0.0.1:9300", "alice/mailboxes/Projekte &- Kunden/u.1")
    assert home.secret() not in text
    assert "http://127.0.0.1:9300/mail/alice/mailboxes/Projekte%20%26-%20Kunden/u.1\n" in text


async def _play(player: Player, mails: list[Delivered]) -> tuple[list[str], list[Delivered], int]:
    remembered: list[Delivered] = []
    steps: list[None] = []
    delivered = await player.deliver([1, 2, 3], remembered.append, lambda: steps.append(None))
    read = await player.read("read", [*remembered, *mails], lambda: steps.append(None))
    return delivered.failures + read.failures, remembered, len(steps)


def test_a_mail_that_comes_back_different_or_not_at_all_is_found(tmp_path: Path) -> None:
    with live_node(tmp_path / "home") as running:
        with ObjectClient(Door.of(running.config)) as client:
            client.put(ObjectName(BUCKET, "changed"), b"other", 5)
        wanted = [Delivered(7, "changed", 5, "00"), Delivered(8, "absent", 5, "00")]

        async def play() -> tuple[list[str], list[Delivered], int]:
            threads = ThreadPool("test", CLIENTS)
            try:
                return await _play(Player(Door.of(running.config), threads, SystemClock(), lambda: False), wanted)
            finally:
                await threads.close()

        failures, remembered, steps = asyncio.run(play())
    assert sorted(failures) == ["changed: came back different (5 bytes)", "there is no object mail/absent"]
    assert len(remembered) == 3
    assert steps == 8


def test_numbers_for_people() -> None:
    assert [bytes_text(size) for size in (0, 999, 15_234, 2_000_000, 5e9, 7e12)] == [
        "0 B", "999 B", "15.2 KB", "2 MB", "5 GB", "7 TB",
    ]  # fmt: skip
    assert [ago(seconds) for seconds in (-1, 59, 61, 7300, 200_000)] == ["0 s", "59 s", "1 min", "2 h", "2 d"]


class CutBody:
    """A response whose connection is lost after some bytes."""

    length = 7

    def __init__(self) -> None:
        self._blocks = [b"some", b""]

    def read(self, _size: int) -> bytes:
        return self._blocks.pop(0)


def test_a_download_that_is_cut_leaves_neither_half_a_file_nor_harm(tmp_path: Path) -> None:
    target = tmp_path / "mail"
    target.write_bytes(b"what was there")
    with pytest.raises(Unreachable, match="7 bytes before the end"):
        store_file(Answer(200, {}, cast(Any, CutBody())), target)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("mail", b"what was there")]


class Stopped(Demo):
    """A demo that was interrupted while it played."""

    def __init__(self, directory: Path, *, once: bool) -> None:
        super().__init__(directory, 1, 0, once)
        self._stop.set()

    def judged(self, phase: Phase) -> bool:
        self._phases.append(phase)
        self._judge()
        return self._good


@pytest.mark.parametrize(("once", "failures", "good"), [(False, [], True), (True, [], False), (False, ["a"], False)])
def test_a_demo_that_is_interrupted_has_failed_only_if_it_was_to_finish_or_a_mail_was_wrong(
    tmp_path: Path, *, once: bool, failures: list[str], good: bool
) -> None:
    assert Stopped(tmp_path, once=once).judged(Phase("read", failures=failures)) is good
