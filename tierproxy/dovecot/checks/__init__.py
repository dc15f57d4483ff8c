"""Every trap between Dovecot, the mount and the node, and what to change. ``examine`` looks at all of them.

A trap never changes anything and never raises for what it sees; what it looks at is gathered before, in a
``Situation``.
"""

from __future__ import annotations

from tierproxy.dovecot.checks import conduct, location, mountpoint, node, system
from tierproxy.dovecot.checks.finding import Finding, Trap, Verdict
from tierproxy.dovecot.checks.situation import NodeSeen, Situation

__all__ = ["TRAPS", "Finding", "NodeSeen", "Situation", "Trap", "Verdict", "examine", "worst"]

TRAPS: tuple[Trap, ...] = (
    *system.TRAPS[:2],
    *mountpoint.TRAPS,
    *location.TRAPS,
    *conduct.TRAPS,
    *node.TRAPS,
    *system.TRAPS[2:],
)


def examine(situation: Situation) -> list[Finding]:
    """What every trap has to say, in their order."""
    return [finding for trap in TRAPS for finding in trap.findings(situation)]


def worst(findings: list[Finding]) -> Verdict:
    """The verdict on all of them."""
    found = {finding.verdict for finding in findings}
    return next(
        verdict for verdict in (Verdict.FAIL, Verdict.WARN, Verdict.OK) if verdict in found or verdict is Verdict.OK
    )
