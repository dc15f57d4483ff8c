"""``tierproxy dovecot check``: every trap between Dovecot, the mount and the node."""

from __future__ import annotations

import dataclasses
import http.client
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tierproxy.cli.client import Door
from tierproxy.cli.dovecot.paths import NODE_CONFIG
from tierproxy.cli.node import far, near
from tierproxy.cli.outcome import ExitCode, out
from tierproxy.cli.settings import AsJson, ConfigFile, print_json
from tierproxy.config.load import load
from tierproxy.config.sections import Config
from tierproxy.desk import objects
from tierproxy.dovecot import checks
from tierproxy.dovecot.checks import NodeSeen, Situation
from tierproxy.dovecot.doveconf import Configuration, parsed
from tierproxy.dovecot.host import Host
from tierproxy.dovecot.versions import find
from tierproxy.errors import ConfigError, TierproxyError
from tierproxy.wire.dovecot import Checkup, Finding
from tierproxy.wire.status import Bucket

HEALTH = 5.0  #: seconds in which a node that runs says so
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}

Printed = Annotated[
    Path | None, typer.Option("--doveconf", help="What `doveconf -n` or -a printed, instead of asking it.")
]
DovecotConfig = Annotated[str, typer.Option("--dovecot-config", help="Dovecot's configuration file, if not its own.")]
MailRoot = Annotated[str, typer.Option("--mail-root", help="The mount point for mail; found out without this.")]
BucketName = Annotated[str, typer.Option("--bucket", help="The mount's bucket; found out without this.")]


def check(
    config: ConfigFile = None,
    dovecot_config: DovecotConfig = "",
    mail_root: MailRoot = "",
    bucket: BucketName = "",
    doveconf: Printed = None,
    as_json: AsJson = False,
) -> None:
    """Go through every trap of mail on a mount, and say what to change. Run it as root, beside the running services."""
    situation = gathered(Host(), config, dovecot_config, mail_root, bucket, doveconf)
    checkup = checked(situation)
    if as_json:
        print_json(checkup)
    else:
        _show(checkup, out())
    if checkup.verdict == "fail":
        raise typer.Exit(ExitCode.FAILED)


def gathered(
    host: Host, config: Path | None, dovecot_config: str, mail_root: str, bucket: str, doveconf: Path | None
) -> Situation:
    """Everything the traps look at. What cannot be had is a finding, not an error."""
    dovecot, problem = _dovecot(dovecot_config, doveconf)
    node, config_problem = _node_config(config, host)
    seen = _asked(node) if node is not None else NodeSeen()
    return Situation(
        host=host, dovecot=dovecot, problem=problem, config=node, config_problem=config_problem, node=seen,
        mail_root=mail_root, bucket=bucket,
    )  # fmt: skip


def checked(situation: Situation) -> Checkup:
    """Every finding as a document."""
    findings = checks.examine(situation)
    return Checkup(
        verdict=checks.worst(findings).value,
        dovecot=str(situation.dovecot.version) if situation.dovecot is not None else None,
        mount=situation.root,
        bucket=situation.section.name if situation.section is not None else None,
        findings=[
            Finding(trap=one.trap, verdict=one.verdict.value, saw=one.saw, change=one.change) for one in findings
        ],
    )


def _dovecot(config: str, printed: Path | None) -> tuple[Configuration | None, str]:
    try:
        if printed is not None:
            return parsed(printed.read_text(errors="replace")), ""
        installed = find(config)
        answer = installed.configuration()
        if answer.status:
            return None, (answer.error or answer.out).strip().splitlines()[0]
        return parsed(answer.out, installed.version), ""
    except (TierproxyError, OSError, IndexError) as error:
        return None, str(error)


def _node_config(path: Path | None, host: Host) -> tuple[Config | None, str]:
    """Without --config that of the setup, if it is there."""
    usual = host.root / NODE_CONFIG.lstrip("/")
    if path is None and not usual.exists():
        return None, ""
    try:
        return load(path or usual, os.environ), ""
    except ConfigError as error:
        return None, str(error)


def _asked(config: Config) -> NodeSeen:
    """Whether the node answers on its object port, and what it or its data directory says of its buckets."""
    return NodeSeen(_silence(config), _completeness(config))


def _silence(config: Config) -> str:
    try:
        door = dataclasses.replace(Door.of(config), unix_socket=config.listen.unix_socket, timeout=HEALTH)
        connection = door.connect()
        try:
            connection.request("GET", "/-/health")
            status = connection.getresponse().status
        finally:
            connection.close()
    except (ConfigError, OSError, http.client.HTTPException) as error:
        return str(error)
    return "" if status == 200 else f"it says {status}"


def _completeness(config: Config) -> dict[str, bool] | None:
    try:
        node = far(config)
        if node is None:
            found = near(config, lambda catalogue: objects.buckets(config, catalogue))
        else:
            found = node.get(list[Bucket], "/buckets")
    except (TierproxyError, OSError):
        return None
    return {one.name: one.complete for one in found}


def _show(checkup: Checkup, console: Console) -> None:
    width = max(len(one.trap) for one in checkup.findings)
    for one in checkup.findings:
        console.print(f"{one.verdict:<4}  {one.trap:<{width}}  {one.saw}", style=STYLES[one.verdict], markup=False)
        if one.change:
            console.print(f"{'':<{width + 8}}-> {one.change}", markup=False)
    counts = {verdict: sum(one.verdict == verdict for one in checkup.findings) for verdict in STYLES}
    console.print(f"{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures")
