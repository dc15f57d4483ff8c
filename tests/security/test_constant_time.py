"""Secrets are compared in constant time: read from the source, for no clock of a test could tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tierproxy
from tierproxy.admin.accounts import Accounts
from tierproxy.config import credentials

PACKAGE = Path(tierproxy.__file__).parent
SECRET = re.compile(
    r"(?:^|_)(signature|secret|token|password|csrf|digest_of_secret|expected|claimed|code_hash)s?(?:$|_)"
)
NO_SECRETS = {
    "catalogue/entries.py": "expected",  # a generation
    "s3api/auth.py": "signature",  # a placeholder put there a line before, and what became of it
    "s3api/stream.py": "SIGNATURE_TRAILER",  # the name of one
}


def comparisons(source: str, name: str) -> Iterator[str]:
    """Where something is compared with ``==`` or ``!=`` that by its name is a secret."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            continue  # with a word of the program: whether there is one, or which kind
        named = [text for side in sides if (text := _name(side)) and SECRET.search(text.lower())]
        if named:
            yield from (f"{name}:{node.lineno} {text}" for text in named if NO_SECRETS.get(name) != text)


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case ast.Call(func=func):
            return _name(func)
        case ast.Subscript(slice=ast.Constant(value=str(value))):
            return value
    return ""


def everywhere() -> list[str]:
    found: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if not name.startswith("testing/"):
            found += comparisons(path.read_text(), name)
    return found


def test_no_secret_is_compared_with_equals() -> None:
    assert everywhere() == []


def test_such_a_comparison_would_be_found() -> None:
    source = "def f(expected, claim, token):\n    return expected == claim.signature or token != g(x)"
    assert len(list(comparisons(source, "x"))) == 3


@pytest.mark.parametrize(
    "place", ["s3api/auth.py", "s3api/stream.py", "config/credentials.py", "admin/accounts.py", "admin/doorkeeper.py"]
)
def test_where_secrets_are_compared_it_is_done_in_constant_time(place: str) -> None:
    assert "hmac.compare_digest(" in (PACKAGE / place).read_text()


def test_a_name_nobody_has_costs_as_much_as_a_wrong_password(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    before = credentials._scrypt

    def counted(*arguments: object) -> bytes:
        tried.append(1)
        return before(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(credentials, "_scrypt", counted)
    accounts = Accounts("command line")
    accounts.replace([])
    assert accounts.checked("nobody", "x") is None
    assert accounts.checked("", "x") is None
    assert accounts.checked("command line", "x") is None
    assert len(tried) == 3


def test_every_token_is_compared_whichever_it_is() -> None:
    """The first that fits does not end the search: how long it takes says nothing of which it was."""
    source = ast.parse((PACKAGE / "admin/accounts.py").read_text())
    search = next(node for node in ast.walk(source) if isinstance(node, ast.FunctionDef) and node.name == "with_token")
    loop = next(node for node in ast.walk(search) if isinstance(node, ast.For))
    assert not [node for node in ast.walk(loop) if isinstance(node, ast.Break | ast.Return)]
