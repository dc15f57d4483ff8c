"""Which ack, which fill, whose bucket: configuration as questions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from tierproxy.config.sections import BucketSection, Config, PolicySection
from tierproxy.model import Ack, Entry, FillPolicy, ObjectName, OnAltDown
from tierproxy.ports import Clock
from tierproxy.rules.evaluate import Facts, arriving, fill_of, write_of
from tierproxy.rules.model import NO_RULES, RuleSet
from tierproxy.traffic import NOBODY, Visitor


@dataclass(frozen=True, slots=True)
class WritePolicy:
    ack: Ack
    on_alt_down: OnAltDown


class Policies:
    """Looks from the most particular to the most general: request, rule, key pattern, bucket, ``[write]`` / ``[fill]``.

    Rules are those in force (``rules``), and only what is known without a look at day bins: a condition on reads within
    a window sees none.
    """

    def __init__(self, config: Config, clock: Clock, naming: Callable[[ObjectName], tuple[str, str]]) -> None:
        self._clock = clock
        self._naming = naming
        self.rules = NO_RULES
        self.reload(config)

    def reload(self, config: Config) -> None:
        self._write = config.write
        self.fill_settings = config.fill
        self._buckets = {bucket.name: bucket for bucket in config.bucket}
        self._dynamic = BucketSection(name="")

    @property
    def rules(self) -> RuleSet:
        return self._rules

    @rules.setter
    def rules(self, rules: RuleSet) -> None:
        """loop. Without rules that speak of fills (or writes), nothing is spent on them."""
        self._rules = rules
        self._fill_rules = replace(rules, rules=tuple(rule for rule in rules.rules if rule.fill is not None))
        self._write_rules = replace(rules, rules=tuple(rule for rule in rules.rules if rule.write is not None))

    def bucket(self, name: str) -> BucketSection:
        """The bucket's section; buckets made by clients have the defaults and are exclusive."""
        return self._buckets.get(name, self._dynamic)

    @property
    def multipart_expiry(self) -> float:
        """Seconds after which an unfinished multipart upload is removed."""
        return self._write.multipart_expiry

    @property
    def alt_patience(self) -> float:
        """Seconds a change waits for an alt that says nothing."""
        return self._write.alt_patience

    def configured(self) -> list[str]:
        return list(self._buckets)

    def write(
        self, name: ObjectName, asked: Ack | None, *, size: int = 0, visitor: Visitor = NOBODY
    ) -> WritePolicy:  # fmt: skip
        """loop. For a write of ``size`` bytes that asks for ``asked``."""
        bucket = self.bucket(name.bucket)
        pattern = self._pattern(bucket, name.key, "ack")
        ruled = None if asked else self._write_rule(name, size, visitor)
        ack = asked or ruled or (pattern.ack if pattern else None) or bucket.ack or self._write.ack
        return WritePolicy(ack, bucket.on_alt_down or self._write.on_alt_down)

    def fill(self, name: ObjectName, entry: Entry | None = None) -> FillPolicy:
        """loop. For a person's read that missed; ``entry``: what is known of the object."""
        bucket = self.bucket(name.bucket)
        pattern = self._pattern(bucket, name.key, "fill")
        ruled = None if entry is None else self._fill_rule(entry)
        return ruled or (pattern.fill if pattern else None) or bucket.fill or self.fill_settings.policy

    def _write_rule(self, name: ObjectName, size: int, visitor: Visitor) -> Ack | None:
        if not self._write_rules.rules:
            return None
        owner, folder = self._naming(name)
        owner = owner if visitor.owner is None else visitor.owner
        folder = folder if visitor.folder is None else visitor.folder
        now = self._clock.now()
        return write_of(self._write_rules, arriving(name, owner=owner, folder=folder, size=size, now=now), now)

    def _fill_rule(self, entry: Entry) -> FillPolicy | None:
        if not self._fill_rules.rules:
            return None
        if entry.owner is None or entry.folder is None:  # not from the catalogue
            owner, folder = self._naming(entry.name)
            entry = replace(entry, owner=entry.owner or owner, folder=entry.folder or folder)
        return fill_of(self._fill_rules, Facts.of(entry), self._clock.now())

    @staticmethod
    def _pattern(bucket: BucketSection, key: str, what: str) -> PolicySection | None:
        for policy in bucket.policy:
            if getattr(policy, what) is not None and fnmatchcase(key, policy.key):
                return policy
        return None
