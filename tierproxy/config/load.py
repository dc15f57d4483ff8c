"""A configuration from a TOML file and the environment: everything that is wrong is reported at once."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierproxy.config import checks, convert, secrets
from tierproxy.config.depth import MOST_PARTS, deep_line
from tierproxy.config.environment import overlay
from tierproxy.config.lines import line_numbers
from tierproxy.config.schema import tables, walk
from tierproxy.config.sections import Config
from tierproxy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A usable configuration, and what an operator should know about it."""

    config: Config
    warnings: tuple[str, ...]


def load(path: Path | None, environment: Mapping[str, str]) -> Config:
    """The configuration in ``path`` (None: defaults alone) with what ``environment`` overrides, secrets resolved.

    Raises ConfigError with every problem, one a line.
    """
    return examine(path, environment).config


def examine(path: Path | None, environment: Mapping[str, str]) -> Loaded:
    """As ``load``, with warnings."""
    text = _read(path) if path is not None else ""
    raw = _parse(text, path)
    problems = convert.Problems()
    merged, warnings = overlay(raw, environment, tables(), problems)
    config = Config(**convert.sections(merged, tables(), problems))
    if problems.found:  # the checks compare options; after these problems they would only add noise
        raise _refusal(problems, text, path)
    config = secrets.resolve(config, environment, problems, warnings)
    checks.examine(config, problems, warnings)
    if problems.found:
        raise _refusal(problems, text, path)
    warnings.extend(_exposed(path, raw))
    return Loaded(config, tuple(warnings))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "tierproxy config describe prints a complete one to start from"
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: byte {error.start}", hint="save it as UTF-8") from error


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    if deep := deep_line(text):
        raise ConfigError(f"{path} line {deep}: a key has more than {MOST_PARTS} parts", hint="write it more simply")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"line (\d+)", str(error))
        lines = text.split("\n")  # as TOML counts them
        line = lines[int(where[1]) - 1].strip() if where and int(where[1]) <= len(lines) else ""
        repeated = _without_value(line)
        shown = f": {repeated}" if repeated else ""
        raise ConfigError(
            f"{path} is not TOML: {error}{shown}", hint="texts, sizes and durations are in quotes"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets in brackets
        raise ConfigError(f"{path} cannot be read: {error}", hint="write it more simply") from error


def _without_value(line: str) -> str:
    """A broken line may hold a secret, or the end of one in several lines: only the name of an option before ``=``, or
    of a section in brackets, is repeated."""
    name, equals, _ = line.partition("=")
    known = {option.name for table in walk(tables()) for option in table.options}
    if equals and name.strip() in known:
        return f"{name.strip()} = ..."
    return line if re.fullmatch(r"\[{1,2}[\w. -]{1,80}\]{0,2}", line, re.ASCII) else ""


def _refusal(problems: convert.Problems, text: str, path: Path | None) -> ConfigError:
    numbers = line_numbers(text)
    ordered = sorted(problems.found, key=lambda problem: numbers.get(problem[0], 0))
    lines = [_line(place, what, numbers) for place, what in ordered]
    subject = str(path) if path is not None else "the configuration"
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    hint = "tierproxy config describe explains every option"
    return ConfigError("\n  ".join([f"{subject} has {count}:", *lines]), hint=hint)


def _line(place: convert.Path, what: str, numbers: Mapping[convert.Path, int]) -> str:
    number = numbers.get(place)
    return f"{f'line {number}: ' if number else ''}{convert.place(place)}: {what}"


def _exposed(path: Path | None, raw: Mapping[str, Any]) -> list[str]:
    """A file with secrets in it that everybody can read."""
    keys = [entry for entry in raw.get("key", []) if entry.get("secret")]
    keys += [entry for entry in raw.get("account", []) if entry.get("password")]
    if path is None or not (keys or raw.get("alt", {}).get("secret_access_key")):
        return []
    if not path.stat().st_mode & stat.S_IROTH:
        return []
    return [f"everybody on this machine can read the secrets in {path}: chmod 600 {path}"]
