"""A smaller disk for a sample of the objects: what ``tierproxy.trace.sampled`` leaves belongs on its share of it."""

from __future__ import annotations

from dataclasses import replace

from tierproxy.config.values import Size
from tierproxy.rules.model import RuleSet
from tierproxy.whatif.live import Setup


def shrunk(rules: RuleSet, setup: Setup, share: float) -> tuple[RuleSet, Setup]:
    """Both for a sample of that share of the objects."""
    if share >= 1:
        return rules, setup
    budget = rules.budget
    buckets = tuple(replace(one, max_bytes=max(int(one.max_bytes * share), 1)) for one in budget.buckets)
    most = None if budget.max_bytes is None else Size(max(int(budget.max_bytes * share), 1))
    disk = replace(setup.disk, max_bytes=Size(max(int(setup.disk.max_bytes * share), 1)))
    return replace(rules, budget=replace(budget, max_bytes=most, buckets=buckets)), replace(setup, disk=disk)
