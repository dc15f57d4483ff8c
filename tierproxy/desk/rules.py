"""Purge rules at the desk: are they right, what do they say, hold, change, and what did they remove."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

from tierproxy import purges
from tierproxy.catalogue import CatalogueReader
from tierproxy.config.sections import Config
from tierproxy.desk.inforce import LIVE, SHADOW, Source, in_force, needed_file, of_version, read_text, strange_buckets
from tierproxy.desk.wishes import NoShadow, NoSuchVersion
from tierproxy.desk.words import moment
from tierproxy.errors import ConfigError
from tierproxy.purges import RulesInForce, Scope, ShadowRecord, Survey
from tierproxy.rules import show
from tierproxy.rules.lint import Finding, Holdings, Level, accept, weigh
from tierproxy.rules.model import RuleSet
from tierproxy.rules.problems import Mistake, Unusable
from tierproxy.traffic import DAY
from tierproxy.wire.base import Amount, Kind
from tierproxy.wire.rules import (
    Comparison,
    Effect,
    Fault,
    RuleCount,
    RuleRecord,
    RulesCheck,
    RulesDifference,
    RulesHeld,
    Version,
)

RUNS = 100_000  #: of which the sums of versions are made
EDITED = "the text"  #: what a text that is no file yet is called


def kind_of(shadow: bool) -> Kind:
    return SHADOW if shadow else LIVE  # type: ignore[return-value]


# ------------------------------------------------------------ is it right


def accepted(config: Config, text: str, now: float, about: str = EDITED) -> tuple[Source, list[Finding]]:
    """Rules of a text that is in no file yet, and what is doubtful about them. Raises Unusable."""
    rules, findings = accept(text, now=now, file=about, keep_days=config.counting.keep_days, disk=config.disk)
    return Source(RulesInForce(0, rules), about), [*findings, *strange_buckets(config, rules)]


def check(config: Config, text: str, now: float, about: str = EDITED) -> RulesCheck:
    """Everything wrong or doubtful that the text itself says: quick enough for an editor."""
    try:
        source, findings = accepted(config, text, now, about)
    except Unusable as error:
        return unusable(error, about)
    return _checked(source, findings)


def check_file(config: Config, file: Path, now: float) -> RulesCheck:
    """Of a file. Raises ConfigError when it cannot be read."""
    return check(config, read_text(file), now, str(file))


def check_all(
    config: Config, catalogue: CatalogueReader, text: str, now: float, about: str = EDITED, days: int = 30
) -> RulesCheck:
    """``check``, and what the rules decide of what is on disk now: a look at every row."""
    try:
        source, findings = accepted(config, text, now, about)
    except Unusable as error:
        return unusable(error, about)
    survey = catalogue.survey(Scope(source.rules, now))
    findings += weigh(source.rules, holdings(survey), disk=config.disk)
    return _checked(source, findings).model_copy(update={"now": _held(source, survey, [], days, LIVE, now)})


def unusable(error: Unusable, about: str) -> RulesCheck:
    """Of rules that cannot be used."""
    return RulesCheck(file=about, errors=str(error).splitlines(), faults=[fault(one) for one in error.mistakes])


def fault(one: Finding | Mistake) -> Fault:
    """With its place."""
    doubt = isinstance(one, Finding) and one.level is Level.WARNING
    return Fault(level="warning" if doubt else "error", line=one.line, text=one.text, fix=one.fix, rule=one.rule)


def _checked(source: Source, findings: Iterable[Finding]) -> RulesCheck:
    found = list(findings)
    return RulesCheck(
        file=source.about, rules=len(source.rules.rules), warnings=[_with_line(one) for one in found],
        faults=[fault(one) for one in found], words=list(in_words(source.rules)),
    )  # fmt: skip


def _with_line(finding: Finding) -> str:
    return f"line {finding.line}: {finding}" if finding.line else str(finding)


def holdings(survey: Survey) -> Holdings:
    """What is on disk, as the lint weighs rules by it."""
    decided = {count.rule: (count.objects, count.bytes) for count in survey.rules}
    return Holdings(decided, survey.dirty[1] + survey.pinned[1] + survey.young[1])


# ------------------------------------------------------------ what they say and hold


def in_words(rules: RuleSet) -> Iterator[str]:
    """A line per rule, then a line per option that is set."""
    for number, one in enumerate(rules.rules, 1):
        yield f"{number}. {one.name}: {show.rule(one, rules.schedule.timezone)}"
    for name, value in show.options(rules).items():
        if value:
            yield f"   {name} = {value}"


def named(config: Config, catalogue: CatalogueReader, number: int) -> Source:
    """The rules of a version. Raises NoSuchVersion, ConfigError."""
    found = known_version(catalogue, number)
    about = f"version {found.number} of {moment(found.at)} by {found.author}"
    return replace(of_version(config, found), about=about)


class Versions(Protocol):
    """Who knows the versions: a reader, or the node's catalogue."""

    def version(self, number: int) -> purges.Version | None: ...


def known_version(catalogue: Versions, number: int) -> purges.Version:
    """Raises NoSuchVersion."""
    found = catalogue.version(number)
    if found is None:
        raise NoSuchVersion(f"there is no version {number}: see `tierproxy rules history`")
    return found


def held(
    config: Config, catalogue: CatalogueReader, now: float, *, kind: str = LIVE, days: int = 30,
    version: int | None = None, bucket: str = "",
) -> RulesHeld:  # fmt: skip
    """What the rules in force (or those of ``version``) decide of what is on disk, of one bucket or all, and what was
    removed in ``days``. A look at every row. Raises NoSuchVersion, ConfigError, DiskError."""
    source = in_force(config, catalogue, now, kind) if version is None else named(config, catalogue, version)
    survey = catalogue.survey(Scope(source.rules, now, bucket, shadow=kind == SHADOW))
    return held_by(config, catalogue, source, survey, now, kind=kind, days=days)


def held_by(
    config: Config, catalogue: CatalogueReader, source: Source, survey: Survey, now: float, *, kind: str = LIVE,
    days: int = 30,
) -> RulesHeld:  # fmt: skip
    """``held`` of a look that was taken."""
    found = _held(source, survey, removed(catalogue, kind, days, now), days, kind, now)
    file = config.purge.rules if kind == LIVE else config.purge.shadow
    return found.model_copy(
        update={"text": source.rules.text, "words": list(in_words(source.rules)), "file": file or None}
    )


def told(config: Config, catalogue: CatalogueReader, now: float, kind: str = LIVE) -> RulesHeld:
    """What is in force, without a look at what it holds: for an editor. Raises ConfigError, DiskError."""
    source = in_force(config, catalogue, now, kind)
    return held_by(config, catalogue, source, Survey((), (0, 0), (0, 0), (0, 0)), now, kind=kind, days=0)


def removed(catalogue: CatalogueReader, kind: str, days: int, now: float) -> list[RuleRecord]:
    """What was removed in ``days``, and what of it was wanted back."""
    return [record(one) for one in _records(catalogue, kind, int(now // DAY) - days)]


def _records(catalogue: CatalogueReader, kind: str, since_day: int) -> Iterable[purges.RuleRecord]:
    if kind == LIVE:
        return catalogue.records(since_day)
    record = catalogue.shadow(since_day)
    return record.shadow.values() if record is not None else ()


def _held(source: Source, survey: Survey, records: list[RuleRecord], days: int, kind: str, now: float) -> RulesHeld:
    counts = [
        _count(survey.of(index), rule.name, str(rule.then.kind) if rule.then else "policy")
        for index, rule in enumerate(source.rules.rules)
    ]
    return RulesHeld(
        version=source.force.number, about=source.about, kind=kind_of(kind == SHADOW),
        rules=[*counts, _count(survey.of(None), None, "pressure")], dirty=_amount(survey.dirty),
        pinned=_amount(survey.pinned), young=_amount(survey.young), days=days,
        removed=records, warnings=list(source.warnings), computed_at=now,
    )  # fmt: skip


def _count(count: purges.RuleCount, name: str | None, then: str) -> RuleCount:
    return RuleCount(
        rule=name, then=then, objects=count.objects, bytes=count.bytes, recent_objects=count.recent_objects,
        recent_bytes=count.recent_bytes, reads_7d=count.reads_7d, reads_30d=count.reads_30d,
    )  # fmt: skip


def record(one: purges.RuleRecord) -> RuleRecord:
    """As a document."""
    return RuleRecord.model_validate(asdict(one))


def _amount(pair: tuple[int, int]) -> Amount:
    return Amount(objects=pair[0], bytes=pair[1])


# ------------------------------------------------------------ what changes


def difference(
    config: Config, catalogue: CatalogueReader, before: Source, after: Source, now: float, *,
    findings: Iterable[Finding] = (), effects: bool = False,
) -> RulesDifference:  # fmt: skip
    """In words and line by line; with ``effects`` on what is on disk (two looks at every row). A new shadow begins with
    a copy of the live disk, so that is what both kinds are measured on."""
    warnings, table = [str(one) for one in findings], []
    if effects:
        surveys = [catalogue.survey(Scope(source.rules, now)) for source in (before, after)]
        warnings += [str(one) for one in weigh(after.rules, holdings(surveys[1]), disk=config.disk)]
        table = _effects(deeds(before.rules, surveys[0]), deeds(after.rules, surveys[1]))
    return RulesDifference(
        before=before.about, after=after.about, changes=show.difference(before.rules, after.rules),
        unified=list(_unified(before, after)), effects=table, warnings=warnings,
        base=before.force.number,
    )  # fmt: skip


def _unified(before: Source, after: Source) -> Iterator[str]:
    old, new = before.rules.text.splitlines(), after.rules.text.splitlines()
    return difflib.unified_diff(old, new, before.about, after.about, lineterm="")


def _effects(before: Mapping[str, Amount], after: Mapping[str, Amount]) -> list[Effect]:
    return [Effect(what=what, before=amount, after=after[what]) for what, amount in before.items()]


def deeds(rules: RuleSet, survey: Survey) -> dict[str, Amount]:
    """What a survey means for the next run: goes, stays by rule, left to pressure, may not go."""
    sums = {"purged by a rule": (0, 0), "kept by a rule": (0, 0)}
    for index, rule in enumerate(rules.rules):
        if rule.then is not None:
            what = "purged by a rule" if rule.then.purges else "kept by a rule"
            sums[what] = _sum(sums[what], (survey.of(index).objects, survey.of(index).bytes))
    undecided = survey.of(None)
    sums["left to pressure"] = undecided.objects, undecided.bytes
    sums["dirty, pinned or young"] = _sum(_sum(survey.dirty, survey.pinned), survey.young)
    return {what: _amount(pair) for what, pair in sums.items()}


def _sum(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] + other[0], one[1] + other[1]


def change(
    config: Config, catalogue: CatalogueReader, text: str, now: float, *, kind: str = LIVE, effects: bool = False,
    about: str = EDITED,
) -> RulesDifference:  # fmt: skip
    """What ``text`` changes of the rules in force. Raises Unusable, DiskError."""
    after, findings = accepted(config, text, now, about)
    before = in_force(config, catalogue, now, kind)
    return difference(config, catalogue, before, after, now, findings=findings, effects=effects)


# ------------------------------------------------------------ versions, shadow


def versions(catalogue: CatalogueReader, kind: str, limit: int, *, texts: bool = False) -> list[Version]:
    """The newest first, with what their runs purged."""
    purged: dict[int, tuple[int, int]] = {}
    for run in catalogue.runs(RUNS):
        purged[run.rules] = _sum(purged.get(run.rules, (0, 0)), (run.objects, run.bytes))
    found = catalogue.versions(kind, limit)
    return [version_document(one, purged.get(one.number, (0, 0)), text=texts) for one in found]


def version(catalogue: CatalogueReader, number: int) -> Version:
    """One, with its text. Raises NoSuchVersion."""
    found = known_version(catalogue, number)
    runs = [run for run in catalogue.runs(RUNS) if run.rules == number]
    sums = sum(run.objects for run in runs), sum(run.bytes for run in runs)
    return version_document(found, sums, text=True)


def version_document(found: purges.Version, purged: tuple[int, int], *, text: bool) -> Version:
    return Version(
        number=found.number, kind=kind_of(found.kind == SHADOW), at=found.at, author=found.author,
        reason=found.reason, text=found.text if text else "", live_at=found.live_at, purged_objects=purged[0],
        purged_bytes=purged[1],
    )  # fmt: skip


def comparison(catalogue: CatalogueReader, now: float, days: int) -> Comparison:
    """The shadow beside the live rules. Raises NoShadow."""
    found = catalogue.shadow(int(now // DAY) - days)
    if found is None:
        raise NoShadow("there is no shadow", hint="set [purge] shadow to a rule file; the node begins one")
    return _compared(found, days)


def _compared(found: ShadowRecord, days: int) -> Comparison:
    return Comparison(
        days=days, since=found.since, live_objects=found.live_objects, live_bytes=found.live_bytes,
        shadow_objects=found.shadow_objects, shadow_bytes=found.shadow_bytes,
        live=[record(one) for one in found.live.values()], shadow=[record(one) for one in found.shadow.values()],
        reads=found.reads, live_misses=found.live_misses, shadow_misses=found.shadow_misses,
    )  # fmt: skip


def shadow_text(config: Config) -> str:
    """The text of the shadow rules. Raises ConfigError, NoShadow."""
    file = needed_file(config, SHADOW)
    try:
        return read_text(file)
    except ConfigError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise NoShadow("there are no shadow rules", hint="apply some with kind shadow first") from None
        raise
