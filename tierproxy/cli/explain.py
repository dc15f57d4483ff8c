"""``tierproxy explain``: why an object is where it is, and what happens to it next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from tierproxy.catalogue import CatalogueReader, open_reader
from tierproxy.cli.inforce import Source, Waters, in_force, waters
from tierproxy.cli.objects import parse
from tierproxy.cli.outcome import out
from tierproxy.cli.settings import AsJson, ConfigFile, calmly, configuration, data_directory, print_json
from tierproxy.cli.words import ago, bytes_text, count_text, for_json, moment
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.errors import NoSuchBucket, NoSuchKey
from tierproxy.model import ObjectName, State
from tierproxy.purge.explain import Explanation, Fate
from tierproxy.purge.explain import explain as explained
from tierproxy.purge.orders import STATEFUL
from tierproxy.purge.plan import Need
from tierproxy.purges import RULE, Scope
from tierproxy.rules.evaluate import Judgment
from tierproxy.rules.model import Kept, Order
from tierproxy.rules.show import condition, value
from tierproxy.traffic import DAY

Target = Annotated[str, typer.Argument(metavar="BUCKET/KEY", help="The object.")]


def explain(target: Target, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Where an object is, every rule with its numbers, which one decides, what comes next. Beside a running node or
    without one."""
    name, found = parse(target), configuration(config)
    with open_reader(data_directory(found)) as catalogue:
        account = calmly(lambda: _account(found, catalogue, name, SystemClock().now()))
    if as_json:
        print_json(document(account))
        return
    for line in _lines(account):
        out().print(line, markup=False)


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
class Account:
    """All there is to say. ``ahead``: for the disk and the bucket's budget, if it has one; empty when pressure cannot
    take it, or only after everything else."""

    now: float
    source: Source
    found: Explanation
    disk: Waters
    ahead: tuple[Ahead, ...]


def _account(config: Config, catalogue: CatalogueReader, name: ObjectName, now: float) -> Account:
    if catalogue.bucket(name.bucket) is None:
        raise NoSuchBucket(f"there is no bucket {name.bucket!r}")
    standing = catalogue.standing(name)
    if standing is None or standing.entry.state is State.DELETING:
        raise NoSuchKey(
            f"the catalogue knows no object {name}",
            hint="if alt has it, a read or `tierproxy catalogue sync` makes it known",
        )
    source = in_force(config, catalogue)
    disk, found = waters(config, source.rules, catalogue), explained(standing, source.rules, now)
    if found.fate not in {Fate.GOES, Fate.UNDECIDED}:
        return Account(now, source, found, disk, ())
    places = ["", *([name.bucket] if name.bucket in disk.budgets else [])]
    ahead = (_ahead(catalogue, source, disk, bucket, name, now) for bucket in places)
    return Account(now, source, found, disk, tuple(one for one in ahead if one is not None))


def _ahead(
    catalogue: CatalogueReader, source: Source, disk: Waters, bucket: str, name: ObjectName, now: float
) -> Ahead | None:
    """The orders with a state walk the queue of FIFO, once what rules purge is gone."""
    order = source.rules.pressure.order
    found = catalogue.ahead(Scope(source.rules, now, bucket), Order.FIFO if order in STATEFUL else order, name)
    return Ahead(bucket, *found, disk.need(bucket)) if found is not None else None


# ------------------------------------------------------------ for people


def _lines(account: Account) -> Iterator[str]:
    yield str(account.found.standing.entry.name)
    for label, text in _facts(account):
        yield f"  {label:<13}{text}"
    yield ""
    yield f"rules ({account.source.about}):"
    for judgment in account.found.verdict.judgments:
        yield from _rule_lines(judgment, judgment is _deciding(account))
    if not account.found.verdict.judgments:
        yield "  there are none"
    yield ""
    yield f"next run      {fate_text(account)}"
    yield f"pressure      {_pressure_text(account)}"
    yield f"by itself     {_change_text(account)}"


def _facts(account: Account) -> Iterator[tuple[str, str]]:
    standing, now = account.found.standing, account.now
    entry = standing.entry
    yield "where", f"{' and '.join(entry.tiers) or 'nowhere'}, {entry.state}"
    yield "size", bytes_text(entry.size) + (f" ({bytes_text(entry.blob_bytes)} on disk)" if entry.blob else "")
    yield "written", _since(entry.written_at, now)
    if entry.blob is not None:
        yield "on disk", _since(entry.stored_at, now)
    yield "last read", _since(entry.last_read_at, now) if entry.last_read_at else "never, by a person"
    week, month = reads_within(standing.days, now, 7), reads_within(standing.days, now, 30)
    yield "reads", f"{entry.reads} by people ({week} in 7 days, {month} in 30), {standing.machine_reads} by machines"
    yield "owner", f"{entry.owner or '(not known)'}, folder {entry.folder or '(not known)'}"
    if account.found.pinned_until is not None:
        yield "pinned", f"until {moment(account.found.pinned_until)}".replace("until for ever", "for ever")
    if entry.blob is None and entry.purged_at is not None:
        run = f", run {standing.purged_run}" if standing.purged_run is not None else ""
        yield "purged", f"{_since(entry.purged_at, now)}, by {_remover(entry.purged_by)}{run}"
    if standing.shadow is not None:
        by = f", removed by {_remover(standing.shadow_by)}" if standing.shadow_by else ""
        yield "shadow", f"{'on disk' if standing.shadow else 'not on disk'} by the shadow rules{by}"


def _remover(by: str | None) -> str:
    by = by or "nobody knows"
    return f"rule {by.removeprefix(RULE)!r}" if by.startswith(RULE) else by


def reads_within(days: tuple[tuple[int, int, int], ...], now: float, window: int) -> int:
    """People's reads of today and the ``window`` days before."""
    return sum(reads for day, reads, _ in days if day >= int(now // DAY) - window)


def _since(at: float | None, now: float) -> str:
    return f"{ago(now - at)} ago ({moment(at)})" if at is not None else "not known"


def _deciding(account: Account) -> Judgment | None:
    verdict = account.found.verdict
    return verdict.judgments[verdict.rule] if verdict.rule is not None else None


def _rule_lines(judgment: Judgment, decides: bool) -> Iterator[str]:
    does = str(judgment.rule.then.kind) if judgment.rule.then else "policy only"
    yield f"  {'->' if decides else '  '} {judgment.rule.name}: {_matches(judgment, decides)} ({does})"
    for truth in judgment.truths:
        yield f"       {'true ' if truth.holds else 'false'}  {condition(truth.condition)}: it is {value(truth)}"


def _matches(judgment: Judgment, decides: bool) -> str:
    if decides:
        return "decides"
    if judgment.expired:
        return "its pin has run out"
    return "matches too" if judgment.matches else "does not match"


FATES = {
    Fate.ABSENT: "nothing: it is not on disk",
    Fate.DIRTY: "stays: alt does not have it for certain",
    Fate.PINNED: "stays: it is pinned",
    Fate.YOUNG: "stays: it is on disk for less than min_on_disk",
    Fate.GOES: "goes",
    Fate.KEPT: "stays",
    Fate.UNDECIDED: "stays: no rule decides",
}


def fate_text(account: Account) -> str:
    """What the next run of the rules does."""
    text, judgment = FATES[account.found.fate], _deciding(account)
    if account.found.fate in {Fate.GOES, Fate.KEPT} and judgment is not None:
        return f"{text}: rule {judgment.rule.name!r} {'purges' if account.found.goes else 'keeps'} it"
    return text


def _pressure_text(account: Account) -> str:
    fate, disk, pressure = account.found.fate, account.disk, account.source.rules.pressure
    if fate is Fate.ABSENT:
        return "nothing: it is not on disk"
    if fate in {Fate.DIRTY, Fate.PINNED, Fate.YOUNG}:
        return "does not take it either"
    if fate is Fate.KEPT and pressure.kept is Kept.NEVER:
        return "does not take what a rule keeps"
    state = _budget_text(disk, "")
    if not account.ahead:
        return f"takes it last, after everything that no rule keeps ({state})"
    return "; ".join(_ahead_text(account, one) for one in account.ahead)


def _ahead_text(account: Account, ahead: Ahead) -> str:
    state = _budget_text(account.disk, ahead.bucket)
    before = f"{count_text(ahead.objects, 'object')} with {bytes_text(ahead.bytes)}"
    text = f"takes {before} before it ({account.source.rules.pressure.order})"
    if ahead.need is None:
        return f"{text}; there is none now ({state})"
    must = f"{bytes_text(ahead.need.bytes)} must go now ({ahead.need.reason})"
    return f"{text}; {must}: {'it is among them' if ahead.reached else 'it is not reached'} ({state})"


def _budget_text(disk: Waters, bucket: str) -> str:
    most = disk.budgets[bucket] if bucket else int(disk.settings.max_bytes)
    used = f"{bytes_text(disk.claimed(bucket))} used, pressure from {bytes_text(most * disk.settings.high_water)}"
    return f"bucket {bucket}: {used}" if bucket else used


def _change_text(account: Account) -> str:
    found = account.found
    if found.changes_at is None or found.then is None:
        return "nothing changes"
    return f"changes in {ago(found.changes_at - account.now)} ({moment(found.changes_at)}): then {FATES[found.then]}"


# ------------------------------------------------------------ for programs


def document(account: Account) -> dict[str, Any]:
    """--json. Times are seconds since the epoch, durations seconds, sizes bytes."""
    found, standing = account.found, account.found.standing
    entry, now = standing.entry, account.now
    return {
        "object": str(entry.name), "now": now,
        "tiers": list(entry.tiers), "state": str(entry.state), "size": entry.size, "disk_bytes": entry.blob_bytes,
        "written_at": entry.written_at, "stored_at": entry.stored_at if entry.blob else None,
        "last_read_at": entry.last_read_at, "reads": entry.reads, "machine_reads": standing.machine_reads,
        "reads_7d": reads_within(standing.days, now, 7), "reads_30d": reads_within(standing.days, now, 30),
        "owner": entry.owner, "folder": entry.folder, "pinned_until": for_json(found.pinned_until),
        "purged_at": entry.purged_at, "purged_by": entry.purged_by, "purged_run": standing.purged_run,
        "shadow": standing.shadow, "shadow_by": standing.shadow_by,
        "rules_version": account.source.force.number,
        "rules": [_rule_document(judgment) for judgment in found.verdict.judgments],
        "decided_by": judgment.rule.name if (judgment := _deciding(account)) else None,
        "fate": str(found.fate), "goes": found.goes, "by": found.by or None,
        "changes_at": found.changes_at, "changes_to": str(found.then) if found.then else None,
        "pressure": [_pressure_document(account, one) for one in account.ahead],
    }  # fmt: skip


def _rule_document(judgment: Judgment) -> dict[str, Any]:
    conditions = [
        {"condition": condition(truth.condition), "holds": truth.holds, "value": truth.value}
        for truth in judgment.truths
    ]
    then = str(judgment.rule.then.kind) if judgment.rule.then else None
    return {
        "rule": judgment.rule.name, "then": then, "matches": judgment.matches, "expired": judgment.expired,
        "conditions": conditions,
    }  # fmt: skip


def _pressure_document(account: Account, ahead: Ahead) -> dict[str, Any]:
    return {
        "bucket": ahead.bucket or None, "order": str(account.source.rules.pressure.order),
        "objects_before": ahead.objects, "bytes_before": ahead.bytes,
        "need": ahead.need.bytes if ahead.need is not None else 0, "reached": ahead.reached,
    }  # fmt: skip
