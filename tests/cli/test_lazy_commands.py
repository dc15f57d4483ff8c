"""Commands are imported when they are asked for, and a list of them says what they say themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from rich.markup import render
from typer.testing import CliRunner

from tests.clients.proxy import clean_environment
from tierproxy.cli.program import PLACES, app

HEAVY = ("fastapi", "boto3", "polars", "prometheus_client", "opentelemetry", "jinja2", "obstore", "awscrt", "plotly")


def imported(*words: str) -> set[str]:
    """Which of the heavy packages a command has imported at its end."""
    code = (
        "import atexit, json, sys\n"
        f"found = lambda: [one for one in {HEAVY!r} if one in sys.modules]\n"
        "atexit.register(lambda: print(json.dumps(found()), file=sys.stderr))\n"
        f"sys.argv = ['tierproxy', *{words!r}]\n"
        "from tierproxy.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=clean_environment(), timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("words", [("--help",), ("queue", "list", "--help"), ("stats", "--help"), ("--version",)])
def test_a_light_command_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    assert imported(*words) == set()


def test_even_a_command_that_opens_a_store_needs_no_admin_port_to_say_how() -> None:
    assert imported("purge", "--help").isdisjoint({"fastapi", "jinja2", "boto3", "opentelemetry", "polars"})


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_a_list_says_what_the_command_says(place: Any) -> None:
    command, sketch = place.load(), place.sketch()
    assert " ".join(command.help.split("\n\n")[0].split()) == sketch.help
    assert (command.name, command.rich_help_panel) == (sketch.name, sketch.rich_help_panel)


def test_every_command_is_listed() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "100"}).stdout
    for place in PLACES:
        assert f" {place.name} " in text


def texts(command: Any) -> Iterator[str]:
    """Every help text of ``command``, its options and its commands, as it was written."""
    yield command.help or ""
    yield from (getattr(option, "help", None) or "" for option in command.params)
    for below in getattr(command, "commands", {}).values():
        yield from texts(below)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_no_word_in_brackets_is_lost_from_a_help_text(place: Any) -> None:
    for text in texts(place.load()):
        assert render(text).plain == text  # what looks like markup, as [alt] does, would vanish


def test_a_misspelt_command_is_told_which_is_meant() -> None:
    result = CliRunner().invoke(app, ["stauts"])
    assert result.exit_code == 2
    assert "status" in result.output


def test_a_shell_completes_commands_without_loading_them() -> None:
    asked = {"_TIERPROXY_COMPLETE": "complete_bash", "COMP_WORDS": "tierproxy s", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tierproxy"], capture_output=True, text=True, timeout=60, check=False,
        env={**clean_environment(), **asked},
    )  # fmt: skip
    assert set(done.stdout.split()) >= {"serve", "stats", "status", "simulate", "stat"}
