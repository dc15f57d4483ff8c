"""[admin] and [[account]]: what is refused, what is doubted, and hashes that say how they were made."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tierproxy.config.checks import examine
from tierproxy.config.convert import Problems, place
from tierproxy.config.credentials import PasswordHash, is_token_hash, token_hash
from tierproxy.config.describe import annotated, values
from tierproxy.config.load import load
from tierproxy.config.operators import AccountSection, AdminSection
from tierproxy.config.reload import reloaded
from tierproxy.config.sections import BucketSection, Config, KeySection
from tierproxy.config.values import Duration
from tierproxy.errors import ConfigError

HASH = str(PasswordHash(10, 8, 1, b"0123456789abcdef", b"x" * 32))
GOOD = Config(
    bucket=(BucketSection(name="mail"),),
    key=(KeySection(access_key_id="A", secret="a-secret-of-enough-letters"),),
    account=(AccountSection(name="ann", role="operate", password=HASH),),
)


def findings(config: Config) -> list[str]:
    problems = Problems()
    examine(config, problems, [])
    return [f"{place(path)}: {text}" for path, text in problems.found]


def admin(**options: Any) -> Config:
    return dataclasses.replace(GOOD, admin=AdminSection(**options))


def accounts(*entries: AccountSection) -> Config:
    return dataclasses.replace(GOOD, account=entries)


def test_a_good_configuration_has_no_problems() -> None:
    assert findings(GOOD) == []
    assert (
        findings(admin(address="0.0.0.0:9301", behind_proxy=("10.0.0.0/24",), allowed_hosts=("t.example.com",))) == []
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"address": "0.0.0.0:9301"}, "admin.address: passwords would travel to 0.0.0.0:9301 in the clear"),
        ({"address": ":9301"}, "admin.address: passwords would travel"),
        ({"address": "tiers.example.com:9301"}, "admin.address: passwords would travel"),
        ({"address": "9301"}, "admin.address: '9301' is not host:port"),
        ({"address": "127.0.0.1:9300"}, "admin.address: 127.0.0.1:9300 is the object port"),
        ({"tls_certificate": "/nowhere/cert.pem"}, "admin.tls_key: is missing"),
        ({"tls_certificate": "/nowhere/c", "tls_key": "/nowhere/k"}, "admin.tls_certificate: cannot read"),
        ({"behind_proxy": ("proxy",), "allowed_hosts": ("t",)}, "admin.behind_proxy: 'proxy' is not an address"),
        ({"behind_proxy": ("0.0.0.0/0",), "allowed_hosts": ("t",)}, "admin.behind_proxy: 0.0.0.0/0 would believe"),
        ({"behind_proxy": ("10.0.0.5",)}, "admin.allowed_hosts: is empty"),
        ({"allowed_hosts": ("https://t.example.com",)}, "admin.allowed_hosts: 'https://t.example.com' is not a host"),
        ({"allowed_hosts": ("*",)}, "admin.allowed_hosts: '*' is not a host name"),
        ({"session_lifetime": Duration(60), "session_idle": Duration(61)}, "admin.session_idle: is longer"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any], expected: str) -> None:
    assert [text for text in findings(admin(**options)) if text.startswith(expected)], findings(admin(**options))
    assert findings(admin(**options, enabled=False)) == []


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((AccountSection(name="ann"),), "account[0]: nobody can log in"),
        ((AccountSection(name="ann", password="secret"),), "account[0].password: is not a hash"),
        ((AccountSection(name="ann", password="scrypt$99$8$1$AAAA$AAAA"),), "account[0].password: has parameters"),
        ((AccountSection(name="ann", password="scrypt$10$8$1$AAAA$AAAA"),), "account[0].password: is cut short"),
        ((AccountSection(name="ann", token="secret"),), "account[0].token: is not a hash"),
        ((AccountSection(name="command line", password=HASH),), "account[0].name: 'command line' is not made of"),
        ((AccountSection(name="a", password=HASH),) * 2, "account[1].name: there are 2 accounts called a"),
    ],
)
def test_accounts_that_cannot_be_are_refused(entries: tuple[AccountSection, ...], expected: str) -> None:
    assert [text for text in findings(accounts(*entries)) if text.startswith(expected)], findings(accounts(*entries))


def test_open_metrics_for_everybody_and_accounts_for_nobody_are_doubted(tmp_path: Path) -> None:
    warnings: list[str] = []
    proxied = {"address": "0.0.0.0:9301", "behind_proxy": ("10.0.0.5",), "allowed_hosts": ("t",)}
    examine(admin(metrics="open", **proxied), Problems(), warnings)
    examine(admin(enabled=False), Problems(), warnings)
    assert [text.partition(" ")[0] for text in warnings] == ["/metrics", "[[account]]"]


def test_a_hash_fits_its_password_alone_and_survives_being_written() -> None:
    made = PasswordHash.of("correct horse", b"0123456789abcdef")
    found = PasswordHash.parse(str(made))
    assert found == made
    assert found.fits("correct horse")
    assert not found.fits("correct horsf")
    assert not found.fits("")


@pytest.mark.parametrize(
    "text", ["", "x", "scrypt$15$8$1$!!!!!!!!!!!!$AAAAAAAAAAAAAAAAAAAAAAAA", "scrypt$20$8$1$AAAAAAAAAAAA$" + "A" * 43]
)
def test_what_is_no_hash_or_takes_too_much_memory_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        PasswordHash.parse(text)


def test_a_token_is_kept_as_its_hash() -> None:
    assert is_token_hash(token_hash("a token"))
    assert "a token" not in token_hash("a token")
    assert not is_token_hash("a token")


def test_hashes_are_not_shown(tmp_path: Path) -> None:
    text = annotated(GOOD) + str(values(GOOD)) + repr(GOOD)
    assert HASH not in text


def test_a_hash_may_be_in_a_file(tmp_path: Path) -> None:
    hash_file, file = tmp_path / "ann", tmp_path / "tierproxy.toml"
    hash_file.write_text(HASH + "\n")
    hash_file.chmod(0o600)
    base = '[listen]\nauth = "none"\n[[bucket]]\nname = "mail"\n[[account]]\nname = "ann"\n'
    file.write_text(f'{base}password_file = "{hash_file}"\n')
    assert load(file, {}).account[0].password == HASH
    file.write_text(f'{base}password_file = "{hash_file}"\npassword = "{HASH}"\n')
    with pytest.raises(ConfigError, match="not both"):
        load(file, {})


def test_accounts_are_taken_by_a_reload_and_the_address_is_not() -> None:
    fresh = dataclasses.replace(GOOD, account=(), admin=AdminSection(address="127.0.0.1:1", session_idle=Duration(60)))
    result = reloaded(GOOD, fresh)
    assert result.config.account == ()
    assert result.changed == ("admin.session_idle", "account")
    assert result.waiting == ("admin.address",)
