"""Why an object is where it is, and what happens to it next."""

from __future__ import annotations

from dataclasses import dataclass

from tierproxy.catalogue import CatalogueReader
from tierproxy.config.sections import Config
from tierproxy.desk.inforce import Source, Waters, in_force, waters
from tierproxy.desk.words import ago, bytes_text, count_text, for_json, moment
from tierproxy.errors import NoSuchBucket, NoSuchKey
from tierproxy.model import ObjectName, State
from tierproxy.purge.explain import Explanation, Fate
from tierproxy.purge.explain import explain as explained
from tierproxy.purge.orders import STATEFUL
from tierproxy.purge.plan import Need
from tierproxy.purges import Scope
from tierproxy.rules.evaluate import Judgment, Truth
from tierproxy.rules.model import ActionKind, Kept, Order, Rule
from tierproxy.rules.show import condition, value
from tierproxy.traffic import DAY
from tierproxy.wire.objects import Account, ConditionValue, PressurePlace, RuleJudgment

FATES = {
    Fate.ABSENT: "nothing: it is not on disk",
    Fate.DIRTY: "stays: alt does not have it for certain",
    Fate.PINNED: "stays: it is pinned",
    Fate.YOUNG: "stays: it is on disk for less than min_on_disk",
    Fate.GOES: "goes",
    Fate.KEPT: "stays",
    Fate.UNDECIDED: "stays: no rule decides",
}
UNDER_PRESSURE = frozenset({Fate.GOES, Fate.UNDECIDED})


@dataclass(frozen=True, slots=True)
class Ahead:
    """Under pressure on the disk, or (``bucket``) on the bucket's own budget, ``objects`` with ``bytes`` go before it.
    ``need``: what pressure must remove now. ``reached``: it is among them."""

    bucket: str
    objects: int
    bytes: int
    need: Need | None

    @property
    def reached(self) -> bool:
        return self.need is not None and (self.bytes < self.need.bytes or self.objects < self.need.files)


@dataclass(frozen=True, slots=True)
class Look:
    """What was found. ``ahead``: for the disk and the bucket's budget, if it has one; empty when pressure cannot take
    it, or only after everything else."""

    now: float
    source: Source
    found: Explanation
    disk: Waters
    ahead: tuple[Ahead, ...] = ()


def account(config: Config, catalogue: CatalogueReader, now: float, name: ObjectName) -> Account:
    """Everything there is to say of one object. Raises NoSuchBucket, NoSuchKey, ConfigError, DiskError."""
    look = _look(config, catalogue, name, now)
    found, standing = look.found, look.found.standing
    entry, deciding = standing.entry, _deciding(look)
    return Account(
        object=str(entry.name), now=now, tiers=list(entry.tiers), state=str(entry.state), size=entry.size,
        disk_bytes=entry.blob_bytes, written_at=entry.written_at, stored_at=entry.stored_at if entry.blob else None,
        last_read_at=entry.last_read_at, reads=entry.reads, machine_reads=standing.machine_reads,
        reads_7d=reads_within(standing.days, now, 7), reads_30d=reads_within(standing.days, now, 30),
        days=list(standing.days), owner=entry.owner, folder=entry.folder, pinned_until=for_json(found.pinned_until),
        purged_at=entry.purged_at, purged_by=entry.purged_by, purged_run=standing.purged_run,
        shadow=standing.shadow, shadow_by=standing.shadow_by,
        rules_version=look.source.force.number, rules_about=look.source.about, warnings=list(look.source.warnings),
        rules=[_judgment(judgment) for judgment in found.verdict.judgments],
        decided_by=deciding.rule.name if deciding else None,
        fate=str(found.fate), goes=found.goes, by=found.by or None,
        changes_at=found.changes_at, changes_to=str(found.then) if found.then else None,
        pressure=[_place(look, one) for one in look.ahead],
        fate_text=_fate_text(look), pressure_text=_pressure_text(look), change_text=_change_text(look),
    )  # fmt: skip


def reads_within(days: tuple[tuple[int, int, int], ...], now: float, window: int) -> int:
    """People's reads of today and the ``window`` days before."""
    return sum(reads for day, reads, _ in days if day >= int(now // DAY) - window)


# ------------------------------------------------------------ finding out


def _look(config: Config, catalogue: CatalogueReader, name: ObjectName, now: float) -> Look:
    if catalogue.bucket(name.bucket) is None:
        raise NoSuchBucket(f"there is no bucket {name.bucket!r}")
    standing = catalogue.standing(name)
    if standing is None or standing.entry.state is State.DELETING:
        raise NoSuchKey(
            f"the catalogue knows no object {name}",
            hint="if alt has it, a read or `tierproxy catalogue sync` makes it known",
        )
    source = in_force(config, catalogue, now)
    disk, found = waters(config, source.rules, catalogue), explained(standing, source.rules, now)
    if found.fate not in UNDER_PRESSURE:
        return Look(now, source, found, disk)
    places = ["", *([name.bucket] if name.bucket in disk.budgets else [])]
    ahead = (_ahead(catalogue, source, disk, bucket, name, now) for bucket in places)
    return Look(now, source, found, disk, tuple(one for one in ahead if one is not None))


def _ahead(
    catalogue: CatalogueReader, source: Source, disk: Waters, bucket: str, name: ObjectName, now: float
) -> Ahead | None:
    """The orders with a state walk the queue of FIFO, once what rules purge is gone."""
    order = source.rules.pressure.order
    found = catalogue.ahead(Scope(source.rules, now, bucket), Order.FIFO if order in STATEFUL else order, name)
    return Ahead(bucket, *found, disk.need(bucket)) if found is not None else None


def _deciding(look: Look) -> Judgment | None:
    verdict = look.found.verdict
    return verdict.judgments[verdict.rule] if verdict.rule is not None else None


# ------------------------------------------------------------ saying it


def _judgment(judgment: Judgment) -> RuleJudgment:
    return RuleJudgment(
        rule=judgment.rule.name, then=str(judgment.rule.then.kind) if judgment.rule.then else None,
        matches=judgment.matches, expired=judgment.expired, conditions=[_condition(truth) for truth in judgment.truths],
    )  # fmt: skip


def _condition(truth: Truth) -> ConditionValue:
    plain = list(truth.value) if isinstance(truth.value, tuple) else truth.value
    return ConditionValue(condition=condition(truth.condition), holds=truth.holds, value=plain, text=value(truth))


def _place(look: Look, ahead: Ahead) -> PressurePlace:
    return PressurePlace(
        bucket=ahead.bucket or None, order=str(look.source.rules.pressure.order),
        objects_before=ahead.objects, bytes_before=ahead.bytes,
        need=ahead.need.bytes if ahead.need is not None else 0,
        need_reason=ahead.need.reason if ahead.need is not None else "",
        reached=ahead.reached, used=look.disk.claimed(ahead.bucket), high=_high(look.disk, ahead.bucket),
    )  # fmt: skip


def _fate_text(look: Look) -> str:
    """What the next run of the rules does."""
    text, judgment = FATES[look.found.fate], _deciding(look)
    if look.found.fate in {Fate.GOES, Fate.KEPT} and judgment is not None:
        return f"{text}: rule {judgment.rule.name!r} {_verb(judgment.rule)} it"
    return text


def _verb(rule: Rule) -> str:
    if rule.then is not None and rule.then.kind is ActionKind.TRIM:
        return "trims"
    return "purges" if rule.then is not None and rule.then.purges else "keeps"


def _pressure_text(look: Look) -> str:
    fate = look.found.fate
    if fate is Fate.ABSENT:
        return "nothing: it is not on disk"
    if fate in {Fate.DIRTY, Fate.PINNED, Fate.YOUNG}:
        return "does not take it either"
    if fate is Fate.KEPT and look.source.rules.pressure.kept is Kept.NEVER:
        return "does not take what a rule keeps"
    if not look.ahead:
        return f"takes it last, after everything that no rule keeps ({_budget_text(look.disk, '')})"
    return "; ".join(_ahead_text(look, one) for one in look.ahead)


def _ahead_text(look: Look, ahead: Ahead) -> str:
    state = _budget_text(look.disk, ahead.bucket)
    before = f"{count_text(ahead.objects, 'object')} with {bytes_text(ahead.bytes)}"
    text = f"takes {before} before it ({look.source.rules.pressure.order})"
    if ahead.need is None:
        return f"{text}; there is none now ({state})"
    must = f"{bytes_text(ahead.need.bytes)} must go now ({ahead.need.reason})"
    return f"{text}; {must}: {'it is among them' if ahead.reached else 'it is not reached'} ({state})"


def _high(disk: Waters, bucket: str) -> int:
    most = disk.budgets[bucket] if bucket else int(disk.settings.max_bytes)
    return int(most * disk.settings.high_water)


def _budget_text(disk: Waters, bucket: str) -> str:
    used = f"{bytes_text(disk.claimed(bucket))} used, pressure from {bytes_text(_high(disk, bucket))}"
    return f"bucket {bucket}: {used}" if bucket else used


def _change_text(look: Look) -> str:
    found = look.found
    if found.changes_at is None or found.then is None:
        return "nothing changes"
    return f"changes in {ago(found.changes_at - look.now)} ({moment(found.changes_at)}): then {FATES[found.then]}"
