"""Secrets from where they are kept: the option itself, a file, an environment variable."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from tierproxy.config.convert import Problems
from tierproxy.config.operators import AccountSection
from tierproxy.config.sections import Config, KeySection


def resolve(config: Config, environment: Mapping[str, str], problems: Problems, warnings: list[str]) -> Config:
    """``config`` with every secret in place, so that nobody below reads files or the environment for one."""
    keys = tuple(_key(key, n, environment, problems, warnings) for n, key in enumerate(config.key))
    alt = config.alt
    if alt.secret_access_key_file:
        if alt.secret_access_key:
            problems.add(("alt",), "give secret_access_key or secret_access_key_file, not both")
        place = ("alt", "secret_access_key_file")
        alt = replace(alt, secret_access_key=_file(alt.secret_access_key_file, place, problems, warnings))
    accounts = tuple(_account(account, n, problems, warnings) for n, account in enumerate(config.account))
    return replace(config, alt=alt, key=keys, account=accounts)


def _account(account: AccountSection, number: int, problems: Problems, warnings: list[str]) -> AccountSection:
    if not account.password_file:
        return account
    if account.password:
        problems.add(("account", number), "give password or password_file, not both")
    place = ("account", number, "password_file")
    return replace(account, password=_file(account.password_file, place, problems, warnings))


def _key(
    key: KeySection, number: int, environment: Mapping[str, str], problems: Problems, warnings: list[str]
) -> KeySection:
    given = [name for name in ("secret", "secret_file", "secret_env") if getattr(key, name)]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given, but only one may be" if given else "no secret is given"
        problems.add(("key", number), f"{what}: use one of secret, secret_file and secret_env")
        return key
    if key.secret_file:
        return replace(key, secret=_file(key.secret_file, ("key", number, "secret_file"), problems, warnings))
    if key.secret_env:
        secret = environment.get(key.secret_env, "")
        if not secret:
            problems.add(
                ("key", number, "secret_env"), f"the environment variable {key.secret_env} is not set or empty"
            )
        return replace(key, secret=secret)
    return key


def _file(name: str, place: tuple[str | int, ...], problems: Problems, warnings: list[str]) -> str:
    """The file's text without the line end. Unreadable or empty is a problem, readable by everybody a warning."""
    try:
        secret = Path(name).read_text(encoding="utf-8").strip()
        mode = Path(name).stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        problems.add(place, f"cannot read {name}: {getattr(error, 'strerror', None) or error}")
        return ""
    if not secret:
        problems.add(place, f"{name} is empty")
    if mode & stat.S_IROTH:
        warnings.append(f"everybody on this machine can read the secret in {name}: chmod 600 {name}")
    return secret
