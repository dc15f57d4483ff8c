"""What strangers have written is shown by a terminal, and not obeyed."""

from __future__ import annotations

from io import StringIO

import pytest

from tierproxy.cli.outcome import Terminal
from tierproxy.cli.tables import console, filled, table

EVIL = "alice\x1b[2J\x1b]0;title\x07\x9b31m\r\u202egpj.exe"


@pytest.mark.parametrize("way", ["text", "table"])
def test_a_key_with_an_escape_sequence_only_looks_odd(way: str) -> None:
    file = StringIO()
    terminal = Terminal(file=file, force_terminal=True, width=100, color_system=None)
    terminal.print(EVIL if way == "text" else filled(table(["name"], ["size"]), [(EVIL, "1")]), markup=False)
    assert not set("\x1b\x07\x9b\r\u202e") & set(file.getvalue())
    assert "\\x1b[2J" in file.getvalue()


def test_colours_of_our_own_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    file = StringIO()
    Terminal(file=file, force_terminal=True, color_system="standard").print("wrong", style="red")
    assert file.getvalue() == "\x1b[31mwrong\x1b[0m\n"


def test_a_pipe_gets_names_as_they_are() -> None:
    file = StringIO()
    Terminal(file=file, soft_wrap=True, highlight=False).print("a\x1b[2Jb", markup=False)
    assert file.getvalue() == "a\x1b[2Jb\n"
    assert isinstance(console(), Terminal)
