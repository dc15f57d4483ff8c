"""The dry run of a purge: what would go, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tierproxy.catalogue import CatalogueReader
from tierproxy.config.sections import Config
from tierproxy.desk.inforce import Source, in_force
from tierproxy.desk.rules import held_by
from tierproxy.desk.stats import require
from tierproxy.desk.wishes import WrongWish
from tierproxy.purge.plan import doubtful
from tierproxy.purge.plan import everything as all_of
from tierproxy.purges import Candidate, RuleCount, Scope, Survey
from tierproxy.wire.base import Amount
from tierproxy.wire.purges import Going, PlanCount, PurgePlan
from tierproxy.wire.rules import RulesHeld


@dataclass(frozen=True, slots=True)
class Wanted:
    """``target``: BUCKET[/PREFIX], "" for everything. ``rule``: only what this one purges. ``everything``: whatever
    rules keep. Raises WrongWish when that contradicts itself."""

    target: str = ""
    rule: str = ""
    everything: bool = False

    def __post_init__(self) -> None:
        if self.everything and not self.target:
            raise WrongWish("say of which BUCKET or BUCKET/PREFIX", "--all")
        if self.everything and self.rule:
            raise WrongWish("--all and --rule exclude each other", "--all")
        if self.target and not self.bucket:
            raise WrongWish(f"{self.target!r} does not begin with a bucket", "BUCKET[/PREFIX]")

    @property
    def bucket(self) -> str:
        return self.target.partition("/")[0]

    @property
    def prefix(self) -> str:
        return self.target.partition("/")[2]


def plan(config: Config, catalogue: CatalogueReader, wanted: Wanted, now: float, limit: int = 0) -> PurgePlan:
    """What would go, the first ``limit`` objects by name. A look at every row. Raises NoSuchBucket, WrongWish for a
    rule that does not purge, ConfigError, DiskError."""
    source = looked_at(config, catalogue, wanted, now)
    index = _index(source, wanted.rule) if wanted.rule else None
    scope = Scope(source.rules, now, wanted.bucket, wanted.prefix, index)
    survey = catalogue.survey(scope)
    recent = (catalogue.survey(scope.whole()) if scope.confined else survey).recent_bytes
    return _document(source, scope, survey, _first(catalogue, source, scope, survey, limit), recent)


def held_and_plan(
    config: Config, catalogue: CatalogueReader, now: float, days: int, limit: int
) -> tuple[RulesHeld, PurgePlan]:
    """``rules.held`` by the rules in force and ``plan`` of everything, for one look at every row. Raises ConfigError,
    DiskError."""
    source = in_force(config, catalogue, now)
    scope = Scope(source.rules, now)
    survey = catalogue.survey(scope)
    plan = _document(source, scope, survey, _first(catalogue, source, scope, survey, limit), survey.recent_bytes)
    return held_by(config, catalogue, source, survey, now, days=days), plan


def _first(catalogue: CatalogueReader, source: Source, scope: Scope, survey: Survey, limit: int) -> list[Going]:
    """Not looked for where none goes: that would be one more look at every row."""
    if not limit or not any(count.objects for _, count in _counts(scope, survey)):
        return []
    return [_going(catalogue, source, one, scope.now) for one in catalogue.decided(scope, None, limit)]


def looked_at(config: Config, catalogue: CatalogueReader, wanted: Wanted, now: float) -> Source:
    """The rules in force, or an operator's word. Raises NoSuchBucket, WrongWish, ConfigError."""
    require(catalogue, wanted.bucket)
    source = in_force(config, catalogue, now)
    if wanted.rule:
        _index(source, wanted.rule)
    if wanted.everything:
        source = replace(source, force=replace(source.force, rules=all_of(source.rules)))
    return source


def _index(source: Source, name: str) -> int:
    purging = {
        rule.name: index for index, rule in enumerate(source.rules.rules) if rule.then is not None and rule.then.purges
    }
    if name not in purging:
        known = ", ".join(map(repr, purging)) or "there is none"
        raise WrongWish(f"{name!r} is no rule that purges; those are: {known}", "--rule")
    return purging[name]


def _going(catalogue: CatalogueReader, source: Source, one: Candidate, now: float) -> Going:
    """Why it goes, in numbers. A row that has gone since the plan was read has none."""
    standing = catalogue.standing(one.name)
    entry = standing.entry if standing is not None else None
    return Going(
        object=str(one.name), rule=source.rules.rules[one.rule].name.strip() if one.rule is not None else None,
        size=one.size, disk_bytes=one.blob_bytes, age=now - entry.written_at if entry else None,
        reads=entry.reads if entry else None, last_read_at=entry.last_read_at if entry else None,
    )  # fmt: skip


def _document(source: Source, scope: Scope, survey: Survey, objects: list[Going], recent: int) -> PurgePlan:
    counts = dict(_counts(scope, survey))
    stays = {"dirty": survey.dirty, "pinned": survey.pinned, "young": survey.young}
    return PurgePlan(
        rules_version=source.force.number, rules_about=source.about, bucket=scope.bucket or None,
        prefix=scope.prefix, rules=[_count(name, count) for name, count in counts.items()],
        total=_count(None, _sum(list(counts.values()))),
        stays={why: Amount(objects=pair[0], bytes=pair[1]) for why, pair in stays.items()},
        recent_bytes=recent, recent_days=scope.rules.safety.recent_days,
        asks_first=bool(doubtful(scope, survey, recent)), objects=objects, warnings=list(source.warnings),
        computed_at=scope.now,
    )  # fmt: skip


def _counts(scope: Scope, survey: Survey) -> Iterator[tuple[str, RuleCount]]:
    """Each rule that purges, by name, and what it decides."""
    found: dict[str, RuleCount] = {}  # an operator's word stands in several places
    for index, one in enumerate(scope.rules.rules):
        if scope.rule in {None, index} and one.then is not None and one.then.purges:
            name = one.name.strip()  # an operator's word begins with a space
            found[name] = _sum([survey.of(index), *filter(None, [found.get(name)])])
    yield from found.items()


def _sum(counts: Sequence[RuleCount]) -> RuleCount:
    return RuleCount(
        None, sum(one.objects for one in counts), sum(one.bytes for one in counts),
        sum(one.recent_objects for one in counts), sum(one.recent_bytes for one in counts),
        sum(one.reads_7d for one in counts), sum(one.reads_30d for one in counts),
    )  # fmt: skip


def _count(name: str | None, count: RuleCount) -> PlanCount:
    return PlanCount(
        rule=name, objects=count.objects, bytes=count.bytes, recent_objects=count.recent_objects,
        recent_bytes=count.recent_bytes, reads_7d=count.reads_7d, reads_30d=count.reads_30d,
    )  # fmt: skip
