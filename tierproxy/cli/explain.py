"""``tierproxy explain``: why an object is where it is, and what happens to it next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from tierproxy.cli.node import far, near
from tierproxy.cli.objects import parse
from tierproxy.cli.outcome import out, warn
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.cli.words import ago, bytes_text, moment
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import explain as desk
from tierproxy.model import ObjectName
from tierproxy.purges import RULE
from tierproxy.wire.objects import Account, RuleJudgment

Target = Annotated[str, typer.Argument(metavar="BUCKET/KEY", help="The object.")]


def explain(target: Target, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Where an object is, every rule with its numbers, which one decides, what comes next. Beside a running node or
    without one."""
    account = _asked(configuration(config), parse(target))
    for text in account.warnings:
        warn(text)
    if as_json:
        print_json(account)
        return
    for line in _lines(account):
        out().print(line, markup=False)


def _asked(config: Config, name: ObjectName) -> Account:
    node = far(config)
    if node is not None:
        return node.get(Account, "/objects/explain", object=str(name))
    return near(config, lambda catalogue: desk.account(config, catalogue, SystemClock().now(), name))


def _lines(account: Account) -> Iterator[str]:
    yield account.object
    for label, text in _facts(account):
        yield f"  {label:<13}{text}"
    yield ""
    yield f"rules ({account.rules_about}):"
    for judgment in account.rules:
        yield from _rule_lines(judgment, judgment.rule == account.decided_by)
    if not account.rules:
        yield "  there are none"
    yield ""
    yield f"next run      {account.fate_text}"
    yield f"pressure      {account.pressure_text}"
    yield f"by itself     {account.change_text}"


def _facts(account: Account) -> Iterator[tuple[str, str]]:
    now, on_disk = account.now, "disk" in account.tiers
    yield "where", f"{' and '.join(account.tiers) or 'nowhere'}, {account.state}"
    yield "size", bytes_text(account.size) + (f" ({bytes_text(account.disk_bytes)} on disk)" if on_disk else "")
    yield "written", _since(account.written_at, now)
    if on_disk:
        yield "on disk", _since(account.stored_at, now)
    yield "last read", _since(account.last_read_at, now) if account.last_read_at else "never, by a person"
    lately = f"{account.reads_7d} in 7 days, {account.reads_30d} in 30"
    yield "reads", f"{account.reads} by people ({lately}), {account.machine_reads} by machines"
    yield "owner", f"{account.owner or '(not known)'}, folder {account.folder or '(not known)'}"
    if account.pinned_until is not None:
        yield "pinned", _until(account.pinned_until)
    if not on_disk and account.purged_at is not None:
        run = f", run {account.purged_run}" if account.purged_run is not None else ""
        yield "purged", f"{_since(account.purged_at, now)}, by {_remover(account.purged_by)}{run}"
    if account.stub:
        yield "stub", "head and tail on disk" + ("" if not on_disk else ", not needed while all of it is")
    if account.shadow is not None:
        by = f", removed by {_remover(account.shadow_by)}" if account.shadow_by else ""
        yield "shadow", f"{'on disk' if account.shadow else 'not on disk'} by the shadow rules{by}"


def _until(moment_: float | str) -> str:
    return "for ever" if isinstance(moment_, str) else f"until {moment(moment_)}".replace("until for ever", "for ever")


def _remover(by: str | None) -> str:
    by = by or "nobody knows"
    return f"rule {by.removeprefix(RULE)!r}" if by.startswith(RULE) else by


def _since(at: float | None, now: float) -> str:
    return f"{ago(now - at)} ago ({moment(at)})" if at is not None else "not known"


def _rule_lines(judgment: RuleJudgment, decides: bool) -> Iterator[str]:
    does = judgment.then or "policy only"
    yield f"  {'->' if decides else '  '} {judgment.rule}: {_matches(judgment, decides)} ({does})"
    for one in judgment.conditions:
        yield f"       {'true ' if one.holds else 'false'}  {one.condition}: it is {one.text}"


def _matches(judgment: RuleJudgment, decides: bool) -> str:
    if decides:
        return "decides"
    if judgment.expired:
        return "its pin has run out"
    return "matches too" if judgment.matches else "does not match"
