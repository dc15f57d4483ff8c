"""What ``tierproxy dovecot check`` says."""

from __future__ import annotations

from typing import Literal

from tierproxy.wire.base import Document

Verdict = Literal["ok", "warn", "fail"]


class Finding(Document):
    """What a look at one trap saw. ``change``: what to do, empty where nothing is to be done."""

    trap: str
    verdict: Verdict
    saw: str
    change: str = ""


class Checkup(Document):
    """All findings, and the worst of their verdicts. ``dovecot``: its version, null if it cannot be told. ``mount``:
    the mount point for mail; ``bucket``: behind it, null if it is not known."""

    verdict: Verdict
    dovecot: str | None
    mount: str
    bucket: str | None
    findings: list[Finding]
