"""Where in a TOML file each name stands."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.lines import Path, line_numbers
from tierproxy.config.schema import quoted

FILE = '''# a comment
top = 1
[budget]
max_bytes = "1" # x = 2
[budget.bucket."a.b"]
max_bytes = 2
[[rule]]
name = """
[[no]]
x = 1"""
when = { key = [
  "a", # }
  "!b" ], age = "< 1d", 'owner' = 'x' }
[[rule]]
when.age = "x"
at = 1979-05-27 07:32:00
[rule.then]
q = [{ a = 1 }, { b = [1,
  2] }]
'''


def test_tables_options_lists_and_inline_tables_have_lines() -> None:
    assert line_numbers(FILE) == {
        ("top",): 2,
        ("budget",): 3,
        ("budget", "max_bytes"): 4,
        ("budget", "bucket", "a.b"): 5,
        ("budget", "bucket", "a.b", "max_bytes"): 6,
        ("rule", 0): 7,
        ("rule", 0, "name"): 8,
        ("rule", 0, "when"): 11,
        ("rule", 0, "when", "key"): 11,
        ("rule", 0, "when", "key", 0): 12,
        ("rule", 0, "when", "key", 1): 13,
        ("rule", 0, "when", "age"): 13,
        ("rule", 0, "when", "owner"): 13,
        ("rule", 1): 14,
        ("rule", 1, "when"): 15,
        ("rule", 1, "when", "age"): 15,
        ("rule", 1, "at"): 16,
        ("rule", 1, "then"): 17,
        ("rule", 1, "then", "q"): 18,
        ("rule", 1, "then", "q", 0): 18,
        ("rule", 1, "then", "q", 0, "a"): 18,
        ("rule", 1, "then", "q", 1): 18,
        ("rule", 1, "then", "q", 1, "b"): 18,
        ("rule", 1, "then", "q", 1, "b", 0): 18,
        ("rule", 1, "then", "q", 1, "b", 1): 19,
    }


def test_a_text_that_is_no_toml_has_lines_up_to_its_fault() -> None:
    assert line_numbers('[a]\nb = 1\nc = "x\nd = 2') == {("a",): 1, ("a", "b"): 2, ("a", "c"): 3}


VALUES = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)


def shown(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{ " + ", ".join(f"{name} = {shown(one)}" for name, one in value.items()) + " }"
        case list():
            return "[\n  " + ",\n  ".join(map(shown, value)) + "\n]" if value else "[ ]"
        case str():
            return quoted(value)
    return str(value)


def paths(value: Any, here: Path = ()) -> set[Path]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {here, *(path for step, one in members for path in paths(one, (*here, step)))}


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4))
def test_every_name_of_a_file_has_a_line(document: dict[str, Any]) -> None:
    text = "".join(f"{name} = {shown(value)}\n" for name, value in document.items())
    assert tomllib.loads(text) == document
    assert line_numbers(text).keys() == paths(document) - {()}
