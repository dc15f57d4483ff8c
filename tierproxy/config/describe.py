"""The declarations as an annotated configuration file and as documentation, so that neither can drift from the code."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from tierproxy.config.convert import MASKED
from tierproxy.config.operators import AccountSection
from tierproxy.config.schema import Option, Table, show, tables, type_name, walk
from tierproxy.config.sections import (
    BucketSection,
    Config,
    KeySection,
    NamingSection,
    NodeSection,
    PolicySection,
)
from tierproxy.config.values import Share, show_share
from tierproxy.model import Ack

WIDTH = 112

INTRODUCTION = """\
Configuration of tierproxy.

Options that are commented out show their defaults. "reload": applied by SIGHUP, without a restart.
The environment overrides this file: TIERPROXY_DISK_MAX_BYTES=50GiB sets max_bytes of [disk], and
TIERPROXY_BUCKET_0_NAME the name of the first [[bucket]].
Check a file with `tierproxy config check`; `tierproxy config describe` prints it as this one, secrets masked."""

SECRET_VARIABLE = "MAILSTORE_SECRET"  # noqa: S105 -- the name of a variable

EXAMPLE = Config(
    node=NodeSection(data_dir="/var/lib/tierproxy"),
    bucket=(BucketSection(name="mail"),),
    key=(KeySection(access_key_id="mailstore", secret_env=SECRET_VARIABLE),),
)
"""What ``config/tierproxy.toml`` shows: AWS S3 with boto3's credential chain, one bucket, one client key."""

_SAMPLES: dict[str, Any] = {
    "account": AccountSection(name="ann", role="operate", password_file="/etc/tierproxy/ann.password"),  # noqa: S106
    "bucket": BucketSection(name="mail"),
    "bucket.policy": PolicySection(key="*/dovecot.index*", ack=Ack.DISK),
    "key": KeySection(access_key_id="mailstore", secret_env=SECRET_VARIABLE),
    "naming": NamingSection(pattern="mail/(?P<owner>[^/]+)/(?P<folder>[^/]+)/.*"),
}
"""Shown, commented out, where a configuration has no entry of an array."""


def annotated(config: Config) -> str:
    """``config`` as a TOML file that explains every option. Secrets are masked; defaults are commented out."""
    lines = [*_comment(INTRODUCTION), "", ""]
    for table in tables():
        value = getattr(config, table.name)
        entries = value if table.array else (value,)
        for number, entry in enumerate(entries):
            lines += _section(table, entry, explain=number == 0)
        if not entries:
            lines += _off(_section(table, _SAMPLES[table.path], explain=True))
    return "\n".join(lines).rstrip("\n") + "\n"


def _section(table: Table, entry: Any, *, explain: bool) -> list[str]:
    lines = [*(_comment(table.help) if explain else []), table.header]
    for option in table.options:
        lines += ["", *_annotation(option)] if explain else []
        lines.append(_assignment(option, getattr(entry, option.name)))
    lines += ["", ""] if explain else [""]
    for inner in table.tables:
        nested = getattr(entry, inner.name)
        for number, one in enumerate(nested):
            lines += _section(inner, one, explain=explain and number == 0)
        if not nested and explain:
            lines += _off(_section(inner, _SAMPLES[inner.path], explain=True))
    return lines


def _annotation(option: Option) -> list[str]:
    facts = [] if option.type in {str, bool} else [type_name(option)]
    if option.least is not None:
        facts.append(f"at least {_least(option)}")
    if option.reload:
        facts.append("reload")
    return _comment(f"{option.help} ({'; '.join(facts)})" if facts else option.help)


def _assignment(option: Option, value: Any) -> str:
    if option.secret:
        return f'# {option.name} = "{MASKED if value else ""}"' + ("  # set, not shown" if value else "")
    line = f"{option.name} = {show(value)}"
    return line if option.required or value != option.default else f"# {line}"


def _comment(text: str) -> list[str]:
    """``text`` wrapped and commented out, paragraphs kept."""
    wrapped = (textwrap.wrap(part, WIDTH, break_on_hyphens=False) or [""] for part in text.split("\n"))
    return [f"# {line}".rstrip() for lines in wrapped for line in lines]


def _off(lines: list[str]) -> list[str]:
    """An example that is not in force."""
    return [f"# {line}" if line and not line.startswith("#") else line for line in lines]


def _least(option: Option) -> str:
    return show(option.type(option.least)).strip('"')


# ---------------------------------------------------------------- documentation

PREFACE = """\
# Configuration

This page is generated from the declarations in `tierproxy/config/sections.py` (`make docs`).

`tierproxy` reads one TOML file: `--config FILE`, or `TIERPROXY_CONFIG` in the environment. `config/tierproxy.toml` is a
complete one to start from; `tierproxy config check` says what is wrong with a file, all of it at once and with line
numbers; `tierproxy config describe` prints the configuration in force, annotated, with secrets masked.

- **Sizes** are written `64GiB`, `750MB` or as a number of bytes; **durations** `250ms`, `30s`, `5m`, `12h`, `7d`.
- **Unknown** sections and options are errors, with the nearest name there is.
- **Reload**: options marked *yes* are applied by SIGHUP; changes to others are named in the log and wait for a restart.
- **Environment**: every option can be overridden by `TIERPROXY_<SECTION>_<OPTION>`, as in
  `TIERPROXY_DISK_MAX_BYTES=50GiB`. Entries of `[[bucket]]` and `[[key]]` are numbered from 0:
  `TIERPROXY_BUCKET_0_NAME=mail`, so a container needs no file at all. Lists are separated by commas.
- **Secrets** are best kept out of the file: `secret_file` and `secret_env` of a `[[key]]`,
  `secret_access_key_file` of `[alt]`, or `TIERPROXY_ALT_SECRET_ACCESS_KEY`. They are never shown or logged.
"""


def document() -> str:
    """``docs/configuration.md``."""
    parts = [PREFACE]
    parts.extend(f"## `{table.header}`\n\n{_escaped(table.help)}\n\n{_rows(table)}\n" for table in walk(tables()))
    return "\n".join(parts)


def _rows(table: Table) -> str:
    head = ["| option | default | reload | meaning |", "|---|---|---|---|"]
    return "\n".join([*head, *_options(table)])


def _options(table: Table) -> Iterator[str]:
    for option in table.options:
        default = "*required*" if option.required else f"`{show(option.default)}`"
        meaning = f"{option.help}. *{type_name(option)}*"
        least = f", at least {_least(option)}" if option.least is not None else ""
        reload = "yes" if option.reload else ""
        yield f"| `{option.name}` | {default} | {reload} | {_escaped(meaning + least)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*.", "\\*.")


def values(config: Config) -> dict[str, Any]:
    """``config`` as plain values for JSON, by section: sizes in bytes, durations in seconds, secrets masked."""
    found: dict[str, Any] = {}
    for table in tables():
        value = getattr(config, table.name)
        found[table.name] = [_plain(table, one) for one in value] if table.array else _plain(table, value)
    return found


def _plain(table: Table, entry: Any) -> dict[str, Any]:
    found = {option.name: _unsecret(option, getattr(entry, option.name)) for option in table.options}
    return found | {inner.name: [_plain(inner, one) for one in getattr(entry, inner.name)] for inner in table.tables}


def _unsecret(option: Option, value: Any) -> Any:
    if option.secret:
        return MASKED if value else ""
    return show_share(value) if isinstance(value, Share) else value
