"""``tierproxy dovecot setup``: configuration, units and directories for Dovecot on a mount."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.cli.dovecot.carrying import Carrier
from tierproxy.cli.dovecot.paths import DOVECOT_DIRECTORY, NODE_CONFIG
from tierproxy.cli.outcome import out, warn
from tierproxy.config.load import load
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.dovecot.commands import run
from tierproxy.dovecot.doveconf import parsed
from tierproxy.dovecot.host import Host
from tierproxy.dovecot.installation import Command, Directory, File, Plan, Secret, Step, Wish, lacking, planned
from tierproxy.dovecot.installation.texts import bucket_lines
from tierproxy.dovecot.settings import Folders, Layout, Paths
from tierproxy.dovecot.versions import Version, find, version_of
from tierproxy.errors import ConfigError, TierproxyError

Root = Annotated[Path, typer.Option("--root", help="Set up the machine below this directory; runs no command.")]
DovecotVersion = Annotated[
    str, typer.Option("--dovecot-version", help="2.3 or 2.4, as in 2.4.1; asked of dovecot without this.")
]
LayoutOption = Annotated[
    Layout,
    typer.Option(
        "--layout",
        help="main: all mail on the mount. alt: new mail on the local disk, doveadm altmove moves it. maildir: as "
        "main, in Maildir's format.",
    ),
]
FoldersOption = Annotated[
    Folders | None,
    typer.Option(
        "--folders",
        help="How folders become directories. fs: by name (main and alt, if nothing is said). index: by number; names "
        "are in Dovecot's index alone. maildir++: with layout maildir.",
    ),
]
Write = Annotated[bool, typer.Option("--write", help="Install everything instead of printing it.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files of somebody else; they are kept beside.")]


def setup(
    layout: LayoutOption = Layout.MAIN,
    folders: FoldersOption = None,
    write: Write = False,
    force: Force = False,
    user: Annotated[str, typer.Option("--user", help="Owns all mail; made if not there.")] = "vmail",
    node_user: Annotated[str, typer.Option("--node-user", help="Runs the node; made if not there.")] = "tierproxy",
    mail_root: Annotated[str, typer.Option("--mail-root", help="The mount point.")] = Paths().mail,
    index_root: Annotated[str, typer.Option("--index-root", help="Indexes, on a local disk.")] = Paths().index,
    control_root: Annotated[str, typer.Option("--control-root", help="Control files, on a local disk.")] = (
        Paths().control
    ),
    home_root: Annotated[str, typer.Option("--home-root", help="Homes, on a local disk.")] = Paths().home,
    bucket: Annotated[str, typer.Option("--bucket", help="The bucket mail goes to.")] = "mail",
    config: Annotated[str, typer.Option("--config", "-c", help="The node's configuration file.")] = NODE_CONFIG,
    program: Annotated[str, typer.Option("--program", help="The tierproxy that the services start.")] = "",
    systemd: Annotated[bool, typer.Option("--systemd/--no-systemd", help="With units for systemd.")] = True,
    dovecot_version: DovecotVersion = "",
    root: Root = Path("/"),
) -> None:
    """Print what Dovecot needs to keep its mail on a mount; with --write install it. Nothing is started."""
    paths = Paths(mail=mail_root, index=index_root, control=control_root, home=home_root)
    _sensible(paths, config)
    version, directory = _dovecot(dovecot_version)
    wish = Wish(
        version=version, layout=layout, folders=folders, paths=paths, user=user, node_user=node_user, bucket=bucket,
        program=program or _program(), config=config, dovecot_directory=directory, systemd=systemd,
    )  # fmt: skip
    host = Host(root)
    node = _node(wish) if root == Path("/") else None
    if node is not None:
        socket = node.listen.unix_socket or wish.socket
        data = str(Path(node.node.data_dir).expanduser().absolute())
        wish = dataclasses.replace(wish, socket=socket, region=node.listen.region, data=data)
    if write:
        _install(wish, host, force)
    else:
        _print(planned(_numbered(wish, host)))
    if node is not None:
        _lacks(node, wish)


def _sensible(paths: Paths, config: str) -> None:
    """Raises ConfigError for what would make a trap."""
    for path in (*dataclasses.astuple(paths), config):
        if not path.startswith("/") or path.rstrip("/") != os.path.normpath(path) or any(c in path for c in ' "%:\n'):
            raise ConfigError(
                f"{path!r} is not a plain absolute path", hint="such as /srv/mail, without spaces, % and :"
            )
    for path in (paths.index, paths.control, paths.home):
        if f"{path}/".startswith(f"{paths.mail}/"):
            raise ConfigError(f"{path} is on the mount {paths.mail}", hint="indexes, control files and homes are local")


def _dovecot(said: str) -> tuple[Version, str]:
    """Its version, and the directory of dovecot.conf. Raises NoDovecot."""
    if said:
        return version_of(said), DOVECOT_DIRECTORY
    installed = find()
    try:
        source = parsed(installed.configuration().out, installed.version).source
    except TierproxyError:
        source = ""
    return installed.version, str(Path(source).parent) if source.startswith("/") else DOVECOT_DIRECTORY


def _program() -> str:
    """This very program."""
    return os.path.realpath(shutil.which(sys.argv[0]) or sys.argv[0])


def _numbered(wish: Wish, host: Host) -> Wish:
    found = host.user(wish.user)
    return dataclasses.replace(wish, uid=found[0], gid=found[1]) if found is not None else wish


def _install(wish: Wish, host: Host, force: bool) -> None:
    """Users first: what follows needs their numbers. Raises ConfigError before anything but users was changed."""
    users = [step for step in planned(wish).steps if isinstance(step, Command) and step.unless_user]
    _carry(Carrier(host, Files(), run, force=force), users)
    plan = planned(_numbered(wish, host))
    _carry(Carrier(host, Files(), run, force=force), [step for step in plan.steps if step not in users])
    out().print("\nleft for you:")
    _after(plan)


def _carry(carrier: Carrier, steps: Sequence[Step]) -> None:
    for deed in carrier.decided(steps):
        if deed.act is not None:
            deed.act()
        out().print(deed.said, markup=False)


def _print(plan: Plan) -> None:
    for step in plan.steps:
        out().print(_heading(step), markup=False)
        if isinstance(step, File):
            out().print("".join(f"    {line}".rstrip() + "\n" for line in step.text.splitlines()), markup=False)
    out().print("\n# then:")
    _after(plan)


def _heading(step: Step) -> str:
    if isinstance(step, Command):
        unless = f", unless there is a user {step.unless_user}" if step.unless_user else ""
        return f"# {step.about}{unless}\n{shlex.join(step.words)}"
    if isinstance(step, Directory):
        return f"# {step.about}\ninstall -d -o {step.owner} -g {step.owner} -m {step.mode:04o} {step.path}"
    if isinstance(step, Secret):
        return f"# {step.path}: {step.about}; a random one, root:{step.group} 0640"
    return f"\n# {step.path}: {step.about}"


def _after(plan: Plan) -> None:
    for command in plan.after:
        out().print(f"  # {command.about}\n  {shlex.join(command.words)}", markup=False)


def _node(wish: Wish) -> Config | None:
    """The node's configuration, if there is one that can be used."""
    if not Path(wish.config).exists():
        return None
    try:
        return load(Path(wish.config), os.environ)
    except ConfigError as error:
        warn(f"{wish.config} cannot be used yet: {error}")
        return None


def _lacks(node: Config, wish: Wish) -> None:
    """A configuration that was there before is the operator's, who is told what it lacks."""
    missing = list(lacking(node, wish))
    for line in missing:
        warn(f"{wish.config}: {line}")
    if missing:
        out().print(f"\n# what {wish.config} needs:\n{bucket_lines(wish)}", markup=False)
