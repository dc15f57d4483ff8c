"""``tierproxy get | put | stat | ls | rm``: objects of a running proxy, with the first key of its configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from tierproxy.cli.client import Answer, Door, ObjectClient
from tierproxy.cli.outcome import err, out, shown
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.errors import AltUnavailable, NoSuchKey, RequestError
from tierproxy.model import Listed, ObjectName

Target = Annotated[str, typer.Argument(metavar="BUCKET/KEY", help="The object.")]


def parse(text: str) -> ObjectName:
    """``mail/alice/u.1`` -> bucket and key. Raises a usage error."""
    bucket, _, key = readable(text).partition("/")
    if not bucket or not key:
        raise typer.BadParameter(f"{text!r} is not BUCKET/KEY, as in mail/alice/u.1")
    return ObjectName(bucket, key)


def readable(text: str) -> str:
    """``text`` as it was typed. Raises a usage error when it is no UTF-8, as every key is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise typer.BadParameter(f"{text!r} is not UTF-8") from error
    return text


def client(config: Path | None) -> ObjectClient:
    return ObjectClient(Door.of(configuration(config)))


def get(
    target: Target,
    file: Annotated[Path | None, typer.Argument(help="Where to write it; - or nothing for stdout.")] = None,
    config: ConfigFile = None,
) -> None:
    """Fetch an object. A file is complete or is not there."""
    name = parse(target)
    with closing(client(config)) as proxy, proxy.get(name) as answer:
        if file is None or str(file) == "-":
            for block in answer.blocks():
                sys.stdout.buffer.write(block)
            sys.stdout.buffer.flush()
            return
        size = store_file(answer, file)
    err().print(f"{name}: {size} bytes from {answer.headers.get('x-tierproxy-tier', '?')} -> {file}", markup=False)


def store_file(answer: Answer, file: Path) -> int:
    """Write beside ``file`` and rename at the end. Returns the size."""
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as sink:
            for block in answer.blocks():
                sink.write(block)
            size = sink.tell()
        partial.replace(file)
    except OSError as error:
        raise RequestError(f"cannot write {file}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return size


def put(
    file: Annotated[Path, typer.Argument(help="The file to store; - for stdin.")],
    target: Target,
    ack: Annotated[str, typer.Option(help="both, disk or alt; empty for what the configuration says.")] = "",
    content_type: Annotated[str, typer.Option(help="Content-Type to store.")] = "application/octet-stream",
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Store a file as an object."""
    name = parse(target)
    headers = {"content-type": content_type} | ({"x-tierproxy-ack": ack} if ack else {})
    with closing(client(config)) as proxy, closing(_source(file)) as source:
        body, size = _body(source, file)
        answer = proxy.put(name, body, size, headers)
    if as_json:
        print_json(_facts(name, answer) | {"size": size})
    else:
        out().print(f"{name}: {size} bytes, on {answer.headers.get('x-tierproxy-tiers', '?')}", markup=False)


def _source(file: Path) -> IO[bytes]:
    try:
        return sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise RequestError(f"cannot read {file}: {error.strerror}") from error


def _body(source: IO[bytes], file: Path) -> tuple[bytes | IO[bytes], int]:
    """A regular file is streamed; of a pipe the length must be known first, so it is read whole."""
    if str(file) == "-" or not file.is_file():
        content = source.read()
        return content, len(content)
    return source, os.fstat(source.fileno()).st_size


def stat(target: Target, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say what is known of an object, and which tiers hold it."""
    name = parse(target)
    with closing(client(config)) as proxy:
        answer = proxy.head(name)
    facts = _facts(name, answer)
    if as_json:
        print_json(facts)
        return
    for label, value in facts.items():
        out().print(f"{label + ':':<15}{value}", markup=False)


def _facts(name: ObjectName, answer: Answer) -> dict[str, Any]:
    found = {
        "name": str(name),
        "size": int(answer.headers.get("content-length", 0)),
        "etag": answer.headers.get("etag", "").strip('"'),
        "tiers": answer.headers.get("x-tierproxy-tiers", ""),
        "content-type": answer.headers.get("content-type"),
        "last-modified": answer.headers.get("last-modified"),
    }
    metadata = {key: value for key, value in answer.headers.items() if key.startswith("x-amz-meta-")}
    return {key: value for key, value in (found | metadata).items() if value is not None}


def ls(
    where: Annotated[str, typer.Argument(metavar="BUCKET/PREFIX", help="Nothing for the buckets.")] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Every object, not one level.")] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List buckets, or the objects below a prefix. Directories end with /."""
    with closing(client(config)) as proxy:
        rows = _listing(proxy, where, recursive)
        if as_json:
            print_json(list(rows))
            return
        for row in rows:
            size = "-" if row["size"] is None else str(row["size"])
            sys.stdout.write(f"{row['modified'] or '-':<20} {size:>12}  {shown(row['key'])}\n")


def _listing(proxy: ObjectClient, where: str, recursive: bool) -> Iterator[dict[str, Any]]:
    bucket, _, prefix = where.partition("/")
    if not bucket:
        yield from ({"key": name, "size": None, "modified": None, "etag": None} for name in proxy.buckets())
        return
    token = ""
    while True:
        page = proxy.page(bucket, prefix, "" if recursive else "/", token)
        yield from ({"key": name, "size": None, "modified": None, "etag": None} for name in page.prefixes)
        yield from (_row(one) for one in page.objects)
        token = page.token
        if not token:
            return


def _row(one: Listed) -> dict[str, Any]:
    modified = datetime.fromtimestamp(one.modified_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"key": one.key, "size": one.size, "modified": modified, "etag": one.etag}


def rm(
    targets: Annotated[list[str], typer.Argument(metavar="BUCKET/KEY", help="The objects.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Everything below BUCKET/PREFIX.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Objects that are not there are fine.")] = False,
    config: ConfigFile = None,
) -> None:
    """Delete objects, in both tiers. S3 does not say whether an object was there; this command asks before."""
    names = [parse(target) for target in targets]
    deleted = 0
    with closing(client(config)) as proxy:
        for name in names:
            found = _below(proxy, name) if recursive else [name] if _there(proxy, name, force) else []
            for one in found:
                proxy.delete(one)
                deleted += 1
    out().print(f"deleted {deleted} object{'' if deleted == 1 else 's'}")


def _below(proxy: ObjectClient, name: ObjectName) -> list[ObjectName]:
    """Listed first and then deleted: a listing must not change under its own continuation token."""
    return [ObjectName(name.bucket, one.key) for one in proxy.objects(name.bucket, name.key)]


def _there(proxy: ObjectClient, name: ObjectName, force: bool) -> bool:
    try:
        proxy.head(name)
    except NoSuchKey:
        if force:
            return False
        raise
    except AltUnavailable:  # cannot be told now; to delete it is right in either case, and needs no alt
        return True
    return True
