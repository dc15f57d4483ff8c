"""``tierproxy mount``: the files of a bucket, for Dovecot and everybody else, until a signal or an unmount."""

from __future__ import annotations

import asyncio
import grp
import importlib.metadata
import logging
import os
import pwd
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvloop

from tierproxy import logs
from tierproxy.cli.daemon import detached
from tierproxy.cli.mountkeys import Keys, key_of, node_of, trusted
from tierproxy.cli.settings import configuration
from tierproxy.cli.signals import handled
from tierproxy.cli.values import duration_of, size_of
from tierproxy.clock import SystemClock
from tierproxy.config.checks import host_and_port
from tierproxy.errors import ConfigError
from tierproxy.fuse.point import MODE
from tierproxy.logs import event
from tierproxy.mount.location import parse_location
from tierproxy.mount.service import Service, run
from tierproxy.mount.settings import MountSettings
from tierproxy.mount.supervisor import Supervisor

log = logging.getLogger(__name__)
SCRATCH = Path("/var/lib/tierproxy-mount")
NOTIFY_SOCKET = "NOTIFY_SOCKET"

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="unix:/run/tierproxy/s3.sock/BUCKET or http(s)://HOST:PORT/BUCKET, and a prefix. With --config, "
        "left out: the mount point is then the only argument.",
        show_default=False,
    ),
]


def mount(
    url: Url,
    point: Annotated[str, typer.Argument(metavar="MOUNTPOINT", help="An empty directory of root.")] = "",
    bucket: Annotated[str, typer.Option(help="The bucket, where the URL names none.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Take socket and key from a node's file.", dir_okay=False)
    ] = None,
    access_key_id: Annotated[
        str, typer.Option(envvar="TIERPROXY_ACCESS_KEY_ID", help="The access key; none: the node asks for none.")
    ] = "",
    secret_file: Annotated[
        Path | None,
        typer.Option(help="File with its secret; without it, TIERPROXY_SECRET_ACCESS_KEY is asked.", dir_okay=False),
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with both, as ID:SECRET in one line.", dir_okay=False)
    ] = None,
    region: Annotated[str, typer.Option(help="The node's region.")] = "us-east-1",
    ca_file: Annotated[
        Path | None, typer.Option(help="Trust this certificate (https) instead of the system's.", dir_okay=False)
    ] = None,
    uid: Annotated[str, typer.Option(help="Owner of all files, by name or number.")] = "0",
    gid: Annotated[str, typer.Option(help="Their group; without it, the owner's.")] = "",
    umask: Annotated[str, typer.Option(help="Bits to take from 0666 and 0777, octal.")] = "077",
    scratch: Annotated[
        Path, typer.Option(help="Directory for what is not an object yet; of this mount alone.", file_okay=False)
    ] = SCRATCH,
    deadline: Annotated[str, typer.Option(help="After this, without progress of the node, EIO.")] = "20s",
    keep_body: Annotated[str, typer.Option(help="How long a fetched body stays after its last close.")] = "30s",
    whole_limit: Annotated[str, typer.Option(help="Longer objects are read in pieces.")] = "64MiB",
    scratch_fsync: Annotated[
        bool, typer.Option("--scratch-fsync", help="Scratch on disk and fsynced, though no crash leaves any of it.")
    ] = False,
    allow_other: Annotated[
        bool, typer.Option("--allow-other/--no-allow-other", help="Others than root may use it, by owner and mode.")
    ] = True,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="The node's data directory on this machine: bodies there are read without asking it."),
    ] = None,
    daemon: Annotated[
        bool, typer.Option("--daemon/--foreground", help="Return when the mount answers, and serve on.")
    ] = False,
    log_format: Annotated[Literal["text", "json"], typer.Option(help="How to log, on stderr.")] = "text",
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option(help="From where on.")] = "info",
    log_file: Annotated[Path | None, typer.Option(help="Where a daemon logs to.", dir_okay=False)] = None,
    metrics: Annotated[str, typer.Option(help="HOST:PORT of this machine for Prometheus.", show_default=False)] = "",
    check: Annotated[bool, typer.Option("--check", help="Look at everything, mount nothing.")] = False,
) -> None:
    """Mount a bucket, or what is below a prefix, as a file system. Ends by SIGTERM, Ctrl-C or umount; nothing stays
    mounted."""
    settings = replace(_settings(uid, gid, umask, deadline, keep_body, whole_limit), scratch_fsync=scratch_fsync)
    keys = Keys(access_key_id, secret_file, key_file, region, ca_file)
    service = replace(
        _from_config(url, point, bucket, config) if config else _from_url(url, point, bucket, keys),
        scratch=scratch.absolute(), settings=settings, allow_other=allow_other,
        metrics=host_and_port(metrics) if metrics else None, data=data_dir.absolute() if data_dir else None,
    )  # fmt: skip
    logs.configure(log_level, log_format)
    _prepare(service.point)
    if check:
        service.check()
        typer.echo(f"{service.location} can be mounted at {service.point}")
        return
    supervisor = Supervisor(os.environ.pop(NOTIFY_SOCKET, ""))
    if daemon:
        detached(lambda ready: _serve(service, ready, supervisor), log_file)
    else:
        _serve(service, _nothing, supervisor)


def _serve(service: Service, ready: Callable[[], None], supervisor: Supervisor) -> None:
    async def served() -> None:
        stop = asyncio.Event()
        with handled(stop, _not_reloaded):
            await run(service, stop, ready, supervisor, SystemClock())

    uvloop.run(served())


def _not_reloaded() -> None:
    event(log, logging.WARNING, "options of a mount wait for a restart")


def _nothing() -> None:
    """Whoever waits for a mount in the foreground hears of it by sd_notify or by the log."""


def _from_url(url: str, point: str, bucket: str, keys: Keys) -> Service:
    if not point:
        raise typer.BadParameter("missing", param_hint="MOUNTPOINT")
    location = parse_location(url, bucket)
    return _service(Service(
        location=location, point=_absolute(point), scratch=SCRATCH, settings=MountSettings(0, 0),
        credentials=key_of(keys, os.environ), tls=trusted(location.address, keys.ca_file),
    ))  # fmt: skip


def _from_config(url: str, point: str, bucket: str, config: Path) -> Service:
    if point:
        raise typer.BadParameter("with --config there is no URL", param_hint="URL")
    if not bucket:
        raise typer.BadParameter("missing", param_hint="--bucket")
    location, credentials, tls = node_of(configuration(config), bucket)
    return _service(Service(
        location=location, point=_absolute(url), scratch=SCRATCH, settings=MountSettings(0, 0),
        credentials=credentials, tls=tls,
    ))  # fmt: skip


def _service(service: Service) -> Service:
    return replace(service, version=importlib.metadata.version("tierproxy"))


def _absolute(point: str) -> Path:
    """Without symbolic links in what is above it; the mount point itself is not touched, it may be a dead mount."""
    path = Path(point).absolute()
    return path.parent.resolve() / path.name


def _settings(uid: str, gid: str, umask: str, deadline: str, keep_body: str, whole_limit: str) -> MountSettings:
    owner = _owner(uid)
    return MountSettings(
        owner, _group(gid) if gid else _group_of(owner), _mode(umask),
        deadline=duration_of(deadline, "--deadline"), keep_body=duration_of(keep_body, "--keep-body"),
        whole_limit=size_of(whole_limit, "--whole-limit"),
    )  # fmt: skip


def _owner(text: str) -> int:
    try:
        return int(text) if text.isdigit() else pwd.getpwnam(text).pw_uid
    except KeyError:
        raise typer.BadParameter(f"there is no user {text!r}", param_hint="--uid") from None


def _group(text: str) -> int:
    try:
        return int(text) if text.isdigit() else grp.getgrnam(text).gr_gid
    except KeyError:
        raise typer.BadParameter(f"there is no group {text!r}", param_hint="--gid") from None


def _group_of(uid: int) -> int:
    """Of a number that is nobody's: the same number."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise typer.BadParameter(f"{text!r} is not an octal mode, as in 077", param_hint="--umask")
    return mode


def _prepare(point: Path) -> None:
    """The mount point, if it is not there. What is there is checked, and not changed: somebody else made it. Raises
    ConfigError."""
    if os.geteuid() != 0:
        return
    try:
        point.mkdir(MODE)
        point.chmod(MODE)  # whatever the umask took away
    except OSError as error:
        if not isinstance(error, FileExistsError):
            raise ConfigError(f"the mount point {point} cannot be made: {error.strerror}") from error
    else:
        sys.stderr.write(f"made {point}\n")
