"""Patterns that are allowed mean the same to Python and to SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tierproxy.catalogue.patterns import glob_of
from tierproxy.rules import patterns

TEXTS = st.text("abcz-!^[]*?\\&|~/\n ü😀", max_size=8)
PATTERNS = st.text("aabcz--!^[[]]**??\\&|~/ü😀", max_size=10)
PIECES = (
    "[a-c]", "[!a-c]", "[ab-]", "[-z]", "[[]", "[![]", "[!-]", "[a^!]", "[*?]", "[a&&b]", "*", "?", "]", "x", "b",
)  # fmt: skip
CLASSES = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)


@settings(max_examples=1000, deadline=None)
@given(PATTERNS | CLASSES, st.lists(TEXTS, min_size=1, max_size=8))
@example("[![]", ["[", "a"])
@example("[a-b-]", ["-", "a", "b"])
def test_python_and_sqlite_agree_on_every_pattern_that_is_allowed(pattern: str, texts: list[str]) -> None:
    if patterns.fault(pattern):
        return
    with closing(sqlite3.connect(":memory:")) as database:
        for text in texts:
            found = database.execute("SELECT ? GLOB ?", (text, glob_of(pattern))).fetchone()[0]
            assert bool(found) is fnmatchcase(text, pattern), (text, pattern)


@settings(max_examples=1000, deadline=None)
@given(PATTERNS | CLASSES, PATTERNS | CLASSES, TEXTS)
@example("*c", "[abc", "c")
@example("*-c]", "x[a-c]", "xb")
def test_a_pattern_that_covers_another_matches_whatever_that_does(general: str, special: str, text: str) -> None:
    if patterns.fault(general) or patterns.fault(special):
        return
    if patterns.covers(general, special) and fnmatchcase(text, special):
        assert fnmatchcase(text, general)


@pytest.mark.parametrize(
    ("general", "special"),
    [
        ("*", "a?[b]"),
        ("mail/*", "mail/alice/*"),
        ("mail/*", "mail/1"),
        ("*.index", "*/x.index"),
        ("?", "a"),
        ("a", "a"),
    ],
)
def test_what_covers_is_found(general: str, special: str) -> None:
    assert patterns.covers(general, special)


@pytest.mark.parametrize(
    ("general", "special"), [("a*", "*"), ("mail/?", "mail/*"), ("", "*"), ("*b", "*[ab]"), ("a", "A")]
)
def test_what_does_not_cover_is_not(general: str, special: str) -> None:
    assert not patterns.covers(general, special)
