"""No secret is in anything that a node writes or tells: logs at each level and in each form, answers, error pages,
metrics, traces, the data directory, command lines."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operation.secret_story import SECRETS, Heard, Story, collector, disguises, told
from tierproxy.config.load import load
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import ConfigError


@pytest.fixture(scope="module")
def alt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedS3]:
    with EmbeddedS3(tmp_path_factory.mktemp("alt"), "alt-key", "ALT-secret-that-is-long-enough-0123456789") as server:
        server.make_bucket("mail")
        yield server


def lived(story: Story) -> None:
    """Everything once, then a crash, then a start after it."""
    with told(story) as node:
        story.use_objects(node)
        story.use_admin()
        for words in (("config", "describe"), ("config", "check"), ("status", "--json"), ("queue", "list")):
            story.say(*words)
        story.break_the_file(node)
        story.look_at_processes(node)
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
    with told(story) as node:  # spans go out now and then, and at the stop
        story.use_objects(node)
        story.say("stats", "--json")
        assert node.stop() == 0
    story.say("check")
    story.look_at_files()


def test_at_debug_with_all_that_can_be_logged_and_traced(tmp_path: Path, alt: EmbeddedS3) -> None:
    heard = Heard({})
    with collector(heard) as url:
        lines = ['log_level = "debug"', 'log_format = "json"', "access_log = true", f'otel_endpoint = "{url}"']
        story = Story(tmp_path / "home", alt, lines, [])
        lived(story)
    story.heard.told |= heard.told
    assert [who for who in story.heard.told if who.startswith("traces")], "spans have arrived"
    assert "request" in story.log.read_text()
    assert story.heard.found() == []


def test_with_workers_and_the_log_as_text(tmp_path: Path, alt: EmbeddedS3) -> None:
    story = Story(tmp_path / "home", alt, [], ["workers = 1"])
    lived(story)
    assert story.heard.found() == []


SECRET = SECRETS["in a broken file"]


@pytest.mark.parametrize(
    "text",
    [
        "[alt]\nsecret_access_key = 8675309123456\n", "[[key]]\naccess_key_id = 'a'\nsecret = 8675309123456\n",
        f'[[key]]\nsecret = """\n{SECRET}"""x\n', f"[[key]]\nsecret = {SECRET}\n", f'[[key]]\n"{SECRET}" 1\n',
        f"[[key]]\n{SECRET} = \n", f'[alt]\nsecret_access_key = ["{SECRET}"]\n',
    ],
)  # fmt: skip
def test_no_error_of_a_configuration_repeats_a_secret(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tierproxy.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    told = f"{caught.value} {caught.value.hint}"
    assert SECRET not in told
    assert "8675309123456" not in told


def test_the_search_finds_what_is_there() -> None:
    for secret in SECRETS.values():
        for form in disguises(secret):
            heard = Heard({"it": secret})
            heard.keep("somebody", b"before " + form + b" after")
            assert heard.found() == ["somebody (0): it"]
