"""Where a write goes and whether a read that missed leaves a copy, as ``tierproxy.store.policies`` and ``store.fill``
decide it."""

from __future__ import annotations

from collections.abc import Callable

from tierproxy.config.sections import FillSection
from tierproxy.model import Ack, FillPolicy
from tierproxy.rules.model import RuleSet
from tierproxy.whatif.engine.columns import Columns
from tierproxy.whatif.engine.decisions import UNDECIDED, Decisions

Defaults = Callable[[str, str], tuple[Ack, FillPolicy]]
"""Of bucket and key: what the configuration says where no rule does."""


class Policies:
    """Of a rule set and a configuration."""

    def __init__(self, decisions: Decisions, columns: Columns, fill: FillSection, defaults: Defaults) -> None:
        self._rules: RuleSet = decisions.rules
        self._fill_rule = decisions.fill
        self._write_rule = decisions.write
        self._columns = columns
        self._settings = fill
        self._defaults = defaults

    def around(self, number: int, at: float) -> bool:
        """A write of it goes to alt alone."""
        return self.ack(number, at) is Ack.ALT

    def ack(self, number: int, at: float) -> Ack:
        """When a write of it is answered."""
        rule = UNDECIDED if self._write_rule is None else self._write_rule(number, at)
        ruled = None if rule == UNDECIDED else self._rules.rules[rule].write
        return ruled or self._default(number)[0]

    def fills(self, number: int, at: float, sent: int, *, machine: bool) -> bool:
        """A get that missed and delivered ``sent`` bytes leaves a copy, if there is room. Machines' leave none."""
        size = self._columns.size[number]
        if machine or size > self._settings.max_object or self.narrow(number, sent):
            return False
        rule = UNDECIDED if self._fill_rule is None else self._fill_rule(number, at)
        policy = (None if rule == UNDECIDED else self._rules.rules[rule].fill) or self._default(number)[1]
        if policy is FillPolicy.SECOND_READ:
            return self._read_before(number, at)
        return policy is FillPolicy.ALWAYS

    def prefetches(self, number: int, sent: int) -> bool:
        """The same of a prefetch, which does whatever the policy says."""
        return self._columns.size[number] <= self._settings.max_object and not self.narrow(number, sent)

    def narrow(self, number: int, sent: int) -> bool:
        """So small a part of so large an object that it is fetched alone."""
        size = self._columns.size[number]
        return sent < size and size > self._settings.range_limit

    def fetched(self, number: int, sent: int, *, filled: bool) -> int:
        """Bytes that a miss takes from alt: the whole object, if it is kept or small enough to be shared."""
        size = self._columns.size[number]
        return size if filled or size <= self._settings.coalesce_limit else sent

    def _read_before(self, number: int, at: float) -> bool:
        columns = self._columns
        return columns.reads[number] > 0 and at - columns.used[number] <= self._settings.second_read_window

    def _default(self, number: int) -> tuple[Ack, FillPolicy]:
        objects = self._columns.objects
        return self._defaults(objects.buckets[number], objects.keys[number])
