"""Which rules are in force, what the budget is, and whether a node runs: what questions about purging begin with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tierproxy.catalogue import CatalogueReader
from tierproxy.config.lines import line_numbers
from tierproxy.config.sections import Config, DiskSection
from tierproxy.disk.fsio import Files
from tierproxy.disk.lock import DataLock
from tierproxy.errors import ConfigError, DataDirectoryInUse
from tierproxy.model import FreeSpace
from tierproxy.purge.live import LARGEST, LIVE, SHADOW
from tierproxy.purge.plan import Need, merged, need
from tierproxy.purges import RulesInForce, Version
from tierproxy.rules.language import parse
from tierproxy.rules.lint import Finding, Level, accept
from tierproxy.rules.model import NO_RULES, RuleSet

__all__ = [
    "LIVE", "SHADOW", "Source", "Waters", "accepted", "data_directory", "in_force", "in_force_waters", "needed_file",
    "node_runs", "of_version", "parsed", "read_text", "rule_file", "stands", "strange_buckets", "waters",
]  # fmt: skip
VERSIONS = 1000  #: versions looked through for the one in force


@dataclass(frozen=True, slots=True)
class Source:
    """Rules and where they come from, in words. ``warnings``: what whoever asked should know about them."""

    force: RulesInForce
    about: str
    warnings: tuple[str, ...] = ()

    @property
    def rules(self) -> RuleSet:
        return self.force.rules


def data_directory(config: Config) -> Path:
    """Where the node of ``config`` keeps everything."""
    return Path(config.node.data_dir).expanduser()


def rule_file(config: Config, kind: str) -> Path | None:
    """The configured rule file of that kind; None: there is none."""
    text = config.purge.rules if kind == LIVE else config.purge.shadow
    return Path(text).expanduser() if text else None


def needed_file(config: Config, kind: str) -> Path:
    """As ``rule_file``. Raises ConfigError when none is configured."""
    file = rule_file(config, kind)
    if file is None:
        option = "rules" if kind == LIVE else "shadow"
        raise ConfigError(f"no {kind} rule file is configured", hint=f"set [purge] {option} to a file and reload")
    return file


def accepted(config: Config, file: Path, now: float) -> tuple[Source, list[Finding]]:
    """A file as it is now, and what is doubtful about it. Raises ConfigError with every problem, its line and fix."""
    rules, findings = accept(
        read_text(file), now=now, file=str(file), keep_days=config.counting.keep_days, disk=config.disk
    )
    return Source(RulesInForce(0, rules), str(file)), [*findings, *strange_buckets(config, rules)]


def strange_buckets(config: Config, rules: RuleSet) -> Iterator[Finding]:
    """Budgets of buckets that the configuration does not have; those that clients make may come yet."""
    known = {bucket.name for bucket in config.bucket}
    lines = line_numbers(rules.text)
    for name in (budget.bucket for budget in rules.budget.buckets):
        if name not in known and not config.dynamic_buckets.enabled:
            line = lines.get(("budget", "bucket", name, "max_bytes"), 0)
            yield Finding(
                Level.WARNING, line, f"[budget.bucket.{name}]: there is no bucket {name!r}",
                f"write one of {', '.join(sorted(known))}, or remove it",
            )  # fmt: skip


def parsed(config: Config, text: str, about: str) -> RuleSet:
    """Rules of a text; none for the empty text of a version. ``about`` names it in what is said. Raises ConfigError."""
    return parse(text, file=about, keep_days=config.counting.keep_days) if text.strip() else NO_RULES


def of_version(config: Config, version: Version) -> Source:
    """Raises ConfigError when this tierproxy does not understand the old text any more."""
    about = f"version {version.number}"
    return Source(RulesInForce(version.number, parsed(config, version.text, about)), about)


def read_text(file: Path) -> str:
    """Raises ConfigError."""
    try:
        if (size := file.stat().st_size) > LARGEST:
            raise ConfigError(f"{file} has {size} bytes; a rule file has at most {LARGEST}")
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        hint = "is that its name? `tierproxy rules restore NUMBER` writes the configured file again"
        raise ConfigError(f"there is no rule file {file}", hint=hint) from error
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8: byte {error.start}", hint="save it as UTF-8") from error


def stands(before: Source, new: Source, target: Path) -> bool:
    """A node works by the text of ``new`` already, and ``target`` has it: another version would say nothing."""
    if not before.force.number or before.rules.text != new.rules.text:
        return False
    try:
        return read_text(target) == new.rules.text
    except ConfigError:
        return False


def in_force(config: Config, catalogue: CatalogueReader, now: float, kind: str = LIVE) -> Source:
    """The newest version a node has worked by. Where none has yet, and without a node, the configured file counts as
    it is now, if it can be used: the next node, and a purge without one, work by it."""
    file, version = rule_file(config, kind), live_version(catalogue, kind)
    if file is None:
        return Source(RulesInForce(), "no rule file: pressure alone, least recently used first")
    if kind == SHADOW and not file.exists():
        return Source(RulesInForce(), "no shadow rules")
    try:
        found, _ = accepted(config, file, now)
    except ConfigError as error:
        warning = f"{file} cannot be used, and what was in force before still is: `tierproxy rules check`"
        last = of_version(config, version) if version is not None else Source(RulesInForce(), "no rules in force yet")
        return replace(last, warnings=(f"{warning} ({_first(error)})",))
    if version is None:
        return replace(found, about=f"{file}, which no node has worked by yet")
    if found.rules.text == version.text:
        return of_version(config, version)
    if node_runs(data_directory(config)):
        warning = f"{file} has changed, and the node has not taken it up yet"
        return replace(of_version(config, version), warnings=(warning,))
    return replace(found, about=f"{file}, changed since version {version.number}")


def _first(error: ConfigError) -> str:
    return str(error).splitlines()[0]


def live_version(catalogue: CatalogueReader, kind: str) -> Version | None:
    """The newest version of that kind that a node has made live."""
    found = (version for version in catalogue.versions(kind, VERSIONS) if version.live_at is not None)
    return next(found, None)


def node_runs(data: Path) -> bool:
    """Whether a process owns the data directory, this one included. That it is a node, and not an offline tool, cannot
    be told."""
    try:
        DataLock.take(data, Files()).release()
    except DataDirectoryInUse:
        return True
    return False


@dataclass(frozen=True, slots=True)
class Waters:
    """The disk budget as it stands: [disk] of the configuration, as the rule file overrides it; bytes of blobs by
    bucket ("": of all; staged parts of uploads are not seen from outside). A ``tierproxy.purge.plan.Pressure``."""

    settings: DiskSection
    budgets: Mapping[str, int]
    blobs: Mapping[str, int]
    space: FreeSpace
    reserved: int = 0

    def claimed(self, bucket: str = "") -> int:
        return self.blobs.get(bucket, 0)

    def free(self) -> FreeSpace:
        return self.space

    def need(self, bucket: str = "") -> Need | None:
        """What a running node would have to remove now; None: the budget holds."""
        return need(self, bucket=bucket)

    def as_dict(self) -> dict[str, int]:
        """Bytes, for --json and people."""
        most, settings = int(self.settings.max_bytes), self.settings
        high, low = int(most * settings.high_water), int(most * settings.low_water)
        return {"used": self.claimed(), "max_bytes": most, "high": high, "low": low}


def waters(config: Config, rules: RuleSet, catalogue: CatalogueReader) -> Waters:
    """The budget in force, and what is used of it. Raises ConfigError when the file system cannot be asked."""
    budgets = {budget.bucket: budget.max_bytes for budget in rules.budget.buckets}
    blobs = {bucket: catalogue.totals(bucket).blob_bytes for bucket in budgets}
    everything = {"": catalogue.totals().blob_bytes}
    return Waters(merged(config.disk, rules.budget), budgets, blobs | everything, _free(data_directory(config)))


def in_force_waters(config: Config, catalogue: CatalogueReader, now: float) -> Waters:
    """The budget by the rules in force. Raises ConfigError."""
    return waters(config, in_force(config, catalogue, now).rules, catalogue)


def _free(data: Path) -> FreeSpace:
    try:
        found = os.statvfs(data)
    except OSError as error:
        raise ConfigError(f"cannot ask the file system of {data}: {error.strerror}") from error
    free = found.f_bavail * found.f_frsize
    return FreeSpace(found.f_blocks * found.f_frsize, free, found.f_files, found.f_favail)
