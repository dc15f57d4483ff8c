"""What only the running node knows of itself, taken from its parts on the loop."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from tierproxy.admin.services import Services
from tierproxy.desk.status import Live
from tierproxy.ports import WorkerPlace
from tierproxy.wire.status import Alarm, Workers

Fact = str | int | float | bool | None


def live(services: Services) -> Live:
    """loop. All of one moment."""
    config, space, rules = services.config(), services.space, services.purges.live
    budgets = space.budgets
    return Live(
        name=platform.node(), url=services.object_url(), started_at=services.started_at,
        alarms=tuple(_alarm(services, alarm, subject) for alarm, subject in services.alarms.active()),
        disk=space.settings, used=space.used, reserved=space.reserved, peak=space.peak,
        shares={bucket: (space.claimed(bucket), most) for bucket, most in budgets.items()}, free=space.free(),
        memory_objects=services.hot.objects, memory_bytes=services.hot.bytes_used,
        memory_max=int(config.memory.max_bytes), stub_objects=services.stubs.objects,
        stub_bytes=services.stubs.bytes_used, stub_max=int(config.stubs.max_bytes), rules_version=rules.in_force.number,
        rules_about=_about(rules.in_force.number, config.purge.rules), shadow=rules.shadow is not None,
        conditions=tuple(services.conditions()), workers=_workers(services.workers()),
    )  # fmt: skip


def _workers(places: Sequence[WorkerPlace]) -> Workers | None:
    if not places:
        return None
    return Workers(
        places=len(places), running=sum(one.running for one in places), restarts=sum(one.restarts for one in places),
        connections=sum(one.connections for one in places), answers=sum(one.answers for one in places),
        passed=sum(one.passed for one in places),
    )  # fmt: skip


def _alarm(services: Services, alarm: str, subject: str) -> Alarm:
    facts = services.alarms.facts(alarm, subject)
    return Alarm(alarm=alarm, subject=subject, facts={name: _fact(value) for name, value in facts.items()})


def _fact(value: object) -> Fact:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _about(number: int, file: str) -> str:
    """As the desk says it of a data directory."""
    if number:
        return f"version {number}"
    return "no rules in force yet" if file else "no rule file: pressure alone, least recently used first"
