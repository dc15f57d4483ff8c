"""The sections of the admin port: who may look at a node and change it, and from where."""

# The calls in class bodies make dataclass fields: ruff cannot see through option().
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tierproxy.config.declare import option, required
from tierproxy.config.values import Duration

MetricsDoor = Literal["login", "open"]
AccountRole = Literal["read", "operate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSection:
    """The admin port: dashboard, JSON API, metrics (docs/admin.md)."""

    enabled: bool = option(True, "open the admin port")
    address: str = option(
        "127.0.0.1:9301", "host:port, port 0 for a free one; beyond loopback only with TLS or a proxy"
    )
    tls_certificate: str = option(
        "", "PEM file with the certificate chain; empty for plain HTTP. Read again when it changes", reload=True
    )
    tls_key: str = option("", "PEM file with the private key of tls_certificate", reload=True)
    behind_proxy: tuple[str, ...] = option(
        (),
        "addresses or networks of the reverse proxies that end TLS before this port; only their X-Forwarded-For, "
        "-Proto and -Host are believed, and besides them only this machine is let in",
    )
    allowed_hosts: tuple[str, ...] = option(
        (),
        "names browsers reach this port by, as in tiers.example.com; others are refused (DNS rebinding). localhost and "
        "addresses need not be listed",
        reload=True,
    )
    session_lifetime: Duration = option(Duration(12 * 3600), "a login lasts this long at most", reload=True, least=60)
    session_idle: Duration = option(Duration(3600), "and ends when unused for this long", reload=True, least=60)
    metrics: MetricsDoor = option(
        "login", "who may read /metrics: login (an account or a token), open (everybody who reaches the port)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSection:
    """Who may log in at the admin port: by name and password, by token, or both. Without any, the node keeps one token
    for all in <data_dir>/admin.token."""

    name: str = required("name of the account", reload=True)
    role: AccountRole = option("read", "read: look at everything; operate: change things as well", reload=True)
    password: str = option("", "hash of the password, from `tierproxy admin password`", reload=True, secret=True)
    password_file: str = option("", "file that holds this hash", reload=True)
    token: str = option("", "hash of a token for programs, from `tierproxy admin token`", reload=True, secret=True)
