"""Rules that are tried beside one another: those in force, files, texts of a wish; and what they are tried with."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from tierproxy.catalogue import CatalogueReader, catalogue_file, open_reader
from tierproxy.cli.inforce import LIVE, SHADOW, accepted, in_force, of_version, rule_file
from tierproxy.cli.outcome import warn
from tierproxy.cli.settings import data_directory, print_json
from tierproxy.clock import SystemClock
from tierproxy.config.pricesheet import price_sheet
from tierproxy.config.sections import Config
from tierproxy.config.values import Size
from tierproxy.desk import rules as desk
from tierproxy.errors import ConfigError
from tierproxy.purge.plan import merged
from tierproxy.rules.lint import accept
from tierproxy.rules.model import NO_RULES, RuleSet
from tierproxy.rules.problems import Unusable
from tierproxy.traffic import DAY
from tierproxy.whatif.latency import DEFAULT, Latencies, measured
from tierproxy.whatif.prices import Prices
from tierproxy.whatif.prices import parse as parse_prices
from tierproxy.wire.whatif import Candidate

HOUR = 3600
MEASURED = 30 * DAY
"""Seconds of the node's counts that latencies are taken from."""
NOTHING = "no rules"


@dataclass(frozen=True, slots=True)
class Contestant:
    """Rules by the name they are shown with. ``about``: where they are from."""

    name: str
    rules: RuleSet
    about: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a node's configuration and data directory say: rules in force (None: nothing says any), measured
    latencies, prices (None: everything is free). ``warnings``: what a reader of the result should know."""

    config: Config
    live: Contestant | None = None
    shadow: Contestant | None = None
    latencies: Latencies = DEFAULT
    prices: Prices | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def budget(self) -> int:
        """Bytes of disk in force."""
        return int(merged(self.config.disk, (self.live or Contestant("", NO_RULES)).rules.budget).max_bytes)


# ------------------------------------------------------------ the ground


def ground(config: Config, config_file: Path | None, prices: Path | None = None) -> Ground:
    """Works without a data directory: then files of the configuration and defaults say it. Raises ConfigError."""
    sheet, told = _prices(config_file, prices)
    data = data_directory(config)
    try:
        if catalogue_file(data).exists():
            with open_reader(data) as catalogue:
                return _of_node(config, catalogue, sheet, told)
    except PermissionError:
        told = (*told, f"this user may not read {data}: rules and latencies of the node are not known")
    return _without_node(config, sheet, told)


def _of_node(config: Config, catalogue: CatalogueReader, sheet: Prices, told: tuple[str, ...]) -> Ground:
    live, shadow = in_force(config, catalogue, LIVE), in_force(config, catalogue, SHADOW)
    now = SystemClock().now()
    found = measured(catalogue.rollups(HOUR, now - MEASURED, now))
    if found == DEFAULT:
        told = (*told, "the node has counted no latencies yet: delays are by defaults (docs/whatif.md)")
    shown = Contestant(SHADOW, shadow.rules, shadow.about) if shadow.rules.rules else None
    return Ground(config, Contestant(LIVE, live.rules, live.about), shown, found, sheet, told)


def _without_node(config: Config, sheet: Prices, told: tuple[str, ...]) -> Ground:
    rules = {kind: _configured(config, kind) for kind in (LIVE, SHADOW)}
    told = (*told, "no node has counted latencies here: delays are by defaults (docs/whatif.md)")
    return Ground(config, rules[LIVE], rules[SHADOW], DEFAULT, sheet, told)


def _configured(config: Config, kind: str) -> Contestant | None:
    file = rule_file(config, kind)
    if file is None or not file.exists():
        return None
    return Contestant(kind, accepted(config, file)[0].rules, str(file))


def _prices(config_file: Path | None, prices: Path | None) -> tuple[Prices, tuple[str, ...]]:
    sheet = price_sheet(config_file, prices)
    found = parse_prices(sheet.text, file=sheet.name)
    if sheet.own:
        return found, ()
    return found, (
        f"dollars by the {sheet.name} ({found.as_of}): put your own beside the configuration (docs/whatif.md)",
    )


# ------------------------------------------------------------ rules to try


def of_files(config: Config, files: Iterable[Path], taken: Iterable[str]) -> list[Contestant]:
    """By the file's name; in full where that is taken. Raises ConfigError as ``rules check``."""
    names, found = set(taken), list[Contestant]()
    for file in files:
        source, findings = accepted(config, file)
        for finding in findings:
            warn(f"{file}: {finding}")
        name = file.stem if file.stem not in names else str(file)
        names.add(name)
        found.append(Contestant(name, source.rules, str(file)))
    return found


def of_wish(ground: Ground, candidates: Iterable[Candidate]) -> list[Contestant]:
    """Raises ConfigError; of a text that cannot be used an ``Unusable``."""
    return [_wished(ground, one) for one in candidates]


def _wished(ground: Ground, one: Candidate) -> Contestant:
    config = ground.config
    if one.text is not None:
        rules, _ = accept(
            one.text, now=SystemClock().now(), file=one.name, keep_days=config.counting.keep_days, disk=config.disk
        ) if one.text.strip() else (NO_RULES, [])  # fmt: skip
        return Contestant(one.name, rules, "a text")
    if isinstance(one.version, int):
        with open_reader(data_directory(config)) as catalogue:
            return Contestant(one.name, of_version(config, desk.known_version(catalogue, one.version)).rules)
    found = ground.shadow if one.version == SHADOW else ground.live
    if found is None and one.version == SHADOW:
        raise ConfigError("there are no shadow rules", hint="set [purge] shadow to a file")
    return Contestant(one.name, found.rules if found else NO_RULES, found.about if found else NOTHING)


@contextmanager
def faults_as_document(as_json: bool) -> Iterator[None]:
    """With --json a rule file that cannot be used is told where a program reads the rest, as `rules check` does."""
    try:
        yield
    except Unusable as error:
        if as_json:
            print_json(desk.unusable(error, str(error).partition(" line ")[0]))
            sys.stdout.flush()
        raise


# ------------------------------------------------------------ budgets


def with_budget(rules: RuleSet, budget: int | None) -> RuleSet:
    """``rules`` on a disk of another size; None: of the same."""
    if budget is None:
        return rules
    return replace(rules, budget=replace(rules.budget, max_bytes=Size(budget)))
