"""``tierproxy import``: mail that is somewhere else becomes sdbox objects of an owner, through the running node."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.imported import Bars, BucketObjects, Notes
from tierproxy.cli.offline import run_offline
from tierproxy.cli.outcome import ExitCode, Group, out
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.cli.words import bytes_text, count_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.errors import ConfigError
from tierproxy.importing import maildir as maildirs
from tierproxy.importing import mbox as mboxes
from tierproxy.importing import sdbox as sdboxes
from tierproxy.importing.folders import Name, owner_path, parts
from tierproxy.importing.letters import BadMail, Source
from tierproxy.importing.places import ByGuid, ByName, Mailbox, Places, mailboxes_in
from tierproxy.importing.transfer import Report, Transfer, Verify
from tierproxy.mail.mutf7 import encoded
from tierproxy.model import Ack
from tierproxy.offload import ThreadPool

commands = typer.Typer(cls=Group, no_args_is_help=True, help="Import mail: maildir, sdbox, mbox.")

DOVEADM = "doveadm"  #: as --folders: ask Dovecot
COMMAND = ("-f", "tab", "mailbox", "status", "-u")
LONGEST = 4_000  #: characters of a set of UIDs in one command

Src = Annotated[Path, typer.Argument(metavar="SRC", help="Where the mail is.")]
Owner = Annotated[str, typer.Argument(metavar="OWNER", help="Whose it will be: the directory below the mount point.")]
Bucket = Annotated[str, typer.Option(help="The bucket of mail; not needed where there is one.")]
Folders = Annotated[
    str,
    typer.Option(
        metavar="FILE|doveadm",
        help="For LAYOUT=index: what `doveadm -f tab mailbox status -u OWNER 'guid uidnext' '*'` prints, or run it.",
    ),
]
User = Annotated[str, typer.Option(help="What doveadm calls OWNER, when that is another name.")]
Separator = Annotated[str, typer.Option(help="Between the names of nested folders in --folders.")]
Check = Annotated[
    Verify, typer.Option("--verify", help="Look at each object after it was put: its ETag and size, or its bytes.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read the source and say what would be done.")]
Concurrency = Annotated[int, typer.Option(min=1, max=64, help="Mails sent at once.")]
Acked = Annotated[Ack | None, typer.Option("--ack", help="Wait for both, disk or alt; without it as configured.")]
JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal", dir_okay=False, help="What is done, for the next run. Without it import-OWNER.journal.jsonl."
    ),
]
FlagsFile = Annotated[
    Path | None,
    typer.Option("--flags", dir_okay=False, help="Where flags are written. Without it import-OWNER.flags.jsonl."),
]
Again = Annotated[
    bool, typer.Option("--again", help="Import mails that an earlier run has imported and somebody removed since.")
]


@dataclass(frozen=True, slots=True)
class Wish:
    """What all sources have in common."""

    owner: str
    bucket: str
    folders: str
    user: str
    separator: str
    verify: Verify
    dry_run: bool
    concurrency: int
    ack: Ack | None
    journal: Path | None
    flags: Path | None
    again: bool
    config: Path | None
    as_json: bool


@commands.command()
def maildir(
    src: Src, owner: Owner, bucket: Bucket = "", folders: Folders = "", user: User = "", separator: Separator = "/",
    control: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where the old Dovecot keeps dovecot-uidlist, if not in SRC (CONTROL=)."),
    ] = None,
    verify: Check = Verify.HEAD, dry_run: DryRun = False, concurrency: Concurrency = 4, ack: Acked = None,
    journal: JournalFile = None, flags: FlagsFile = None, again: Again = False, config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Import a maildir with its folders (Maildir++ or LAYOUT=fs). UIDs and GUIDs of a dovecot-uidlist are kept."""
    wish = Wish(
        owner, bucket, folders, user, separator, verify, dry_run, concurrency, ack, journal, flags, again, config,
        as_json,
    )  # fmt: skip
    _import(maildirs.folders(src, control), wish)


@commands.command()
def sdbox(
    src: Src, owner: Owner, bucket: Bucket = "", folders: Folders = "", user: User = "", separator: Separator = "/",
    source_folders: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="The same list of the old server, if SRC has LAYOUT=index."),
    ] = None,
    verify: Check = Verify.HEAD, dry_run: DryRun = False, concurrency: Concurrency = 4, ack: Acked = None,
    journal: JournalFile = None, flags: FlagsFile = None, again: Again = False, config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Import an sdbox: its files as they are, with their UIDs. Its flags are in Dovecot's index: use doveadm backup to
    keep them."""
    wish = Wish(
        owner, bucket, folders, user, separator, verify, dry_run, concurrency, ack, journal, flags, again, config,
        as_json,
    )  # fmt: skip
    _import(sdboxes.folders(src, _source_names(source_folders, separator)), wish)


@commands.command()
def mbox(
    src: Src, owner: Owner, bucket: Bucket = "",
    folder: Annotated[str, typer.Option(help="What the folder is called, if SRC is a file: Archive/2024.")] = "INBOX",
    quoting: Annotated[
        mboxes.Quoting, typer.Option(help="How From lines in mails are quoted; auto believes a right Content-Length.")
    ] = mboxes.Quoting.AUTO,
    folders: Folders = "", user: User = "", separator: Separator = "/",
    verify: Check = Verify.HEAD, dry_run: DryRun = False, concurrency: Concurrency = 4, ack: Acked = None,
    journal: JournalFile = None, flags: FlagsFile = None, again: Again = False, config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Import an mbox file, or a directory of them, each a folder. Mails are numbered as they come."""
    wish = Wish(
        owner, bucket, folders, user, separator, verify, dry_run, concurrency, ack, journal, flags, again, config,
        as_json,
    )  # fmt: skip
    _import(mboxes.folders(src, quoting, _name(folder)), wish)


@commands.command("flags")
def flags_command(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The file an import wrote.")],
    user: Annotated[str, typer.Option(help="Whose mail it is, as doveadm calls them.")],
) -> None:
    """Print the doveadm commands that set the flags of imported mail, once Dovecot knows it (doveadm force-resync)."""
    sets: dict[tuple[str, str], list[int]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for flag in (*row["flags"], *row["keywords"]):
            sets.setdefault((row["folder"], flag), []).append(int(row["uid"]))
    for (folder, flag), uids in sets.items():
        for chosen in uid_sets(uids):
            words = ["doveadm", "flags", "add", "-u", user, flag, "mailbox", folder, "uid", chosen]
            sys.stdout.write(shlex.join(words) + "\n")


def uid_sets(uids: Iterable[int], longest: int = LONGEST) -> Iterator[str]:
    """``1:3,7``: UIDs as IMAP writes sets, each no longer than what a command line takes."""
    ranges: list[list[int]] = []
    for uid in sorted(set(uids)):
        if ranges and ranges[-1][1] == uid - 1:
            ranges[-1][1] = uid
        else:
            ranges.append([uid, uid])
    held = ""
    for begin, end in ranges:
        text = str(begin) if begin == end else f"{begin}:{end}"
        if held and len(held) + len(text) >= longest:
            yield held
            held = ""
        held += f",{text}" if held else text
    if held:
        yield held


# ------------------------------------------------------------ one run


def _import(source: Source, wish: Wish) -> None:
    config = configuration(wish.config)
    try:
        owner = owner_path(wish.owner)
    except BadMail as error:
        raise typer.BadParameter(str(error), param_hint="OWNER") from error
    bucket = _bucket(config, wish.bucket)
    places = _places(wish, owner)
    stem = f"import-{owner.replace('/', '_')}"
    notes = Notes(
        bucket, wish.journal or Path(f"{stem}.journal.jsonl"), wish.flags or Path(f"{stem}.flags.jsonl"),
        again=wish.again, keep=not wish.dry_run,
    )  # fmt: skip
    with notes, Bars(quiet=wish.as_json) as bars:
        report = run_offline(_run(config, bucket, source, places, wish, notes, bars))
    _conclude(report, wish, notes)


async def _run(
    config: Config, bucket: str, source: Source, places: Places, wish: Wish, notes: Notes, bars: Bars
) -> Report:
    door, threads = Door.of(config), ThreadPool("import", wish.concurrency + 1)
    with ExitStack() as stack:
        clients = [stack.enter_context(ObjectClient(door)) for _ in range(wish.concurrency + 1)]
        lister, *senders = [BucketObjects(client, bucket, wish.ack) for client in clients]
        try:
            await threads.run(clients[0].page, bucket)  # no such bucket, nobody there: said at once
            transfer = Transfer(places, threads, SystemClock(), notes, bars, wish.verify, wish.dry_run)
            return await transfer.run(source, lister, senders)
        finally:
            await threads.close()


def _conclude(report: Report, wish: Wish, notes: Notes) -> None:
    if wish.as_json:
        print_json(asdict(report) | {"dry_run": wish.dry_run} | notes.files())
    else:
        _show(report, wish, notes)
    if report.unreachable:
        raise typer.Exit(ExitCode.UNAVAILABLE)
    if report.failed or report.stopped:
        raise typer.Exit(ExitCode.FAILED)


def _show(report: Report, wish: Wish, notes: Notes) -> None:
    console = out()
    verb = "would be imported" if wish.dry_run else "imported"
    console.print(
        f"{count_text(report.imported, 'mail')} {verb} ({bytes_text(report.bytes)}) of "
        f"{count_text(report.folders, 'folder')}, {count_text(report.there)} were there, "
        f"{count_text(report.gone)} removed since an earlier run, {count_text(report.failed)} failed"
    )
    if report.renumbered:
        console.print(f"{count_text(report.renumbered, 'mail')} got another UID: theirs was taken")
    if report.flagged and not wish.dry_run:
        file = notes.files()["flags"]
        console.print(f"{count_text(report.flagged, 'mail')} with flags: tierproxy import flags {file}", markup=False)
    if report.stopped:
        console.print(f"stopped early: {report.stopped}", markup=False)
    elif report.imported and not wish.dry_run:
        user = wish.user or wish.owner.rpartition("/")[2]
        console.print(f"now: doveadm force-resync -u {shlex.quote(user)} '*'", markup=False)


# ------------------------------------------------------------ where to


def _bucket(config: Config, wanted: str) -> str:
    if wanted:
        return wanted
    if len(config.bucket) != 1:
        raise typer.BadParameter("the configuration has not exactly one bucket: name it", param_hint="--bucket")
    return config.bucket[0].name


def _places(wish: Wish, owner: str) -> Places:
    if not wish.folders:
        return ByName(owner)
    return ByGuid(owner, mailboxes_in(_folder_list(wish), wish.separator))


def _folder_list(wish: Wish) -> str:
    """Raises ConfigError."""
    if wish.folders != DOVEADM:
        return _text_of(Path(wish.folders), "--folders")
    user = wish.user or wish.owner.rpartition("/")[2]
    try:
        done = subprocess.run(
            [DOVEADM, *COMMAND, user, "guid uidnext", "*"], capture_output=True, text=True, check=True, timeout=120
        )
    except FileNotFoundError as error:
        raise ConfigError("there is no doveadm here", hint="run it where Dovecot is; --folders FILE") from error
    except subprocess.SubprocessError as error:
        said = str(getattr(error, "stderr", "") or error).strip()
        raise ConfigError(f"doveadm cannot say which folders {user} has: {said}") from error
    return done.stdout


def _source_names(file: Path | None, separator: str) -> dict[str, Name]:
    """Folders of a source of LAYOUT=index by their GUIDs."""
    boxes: dict[str, Mailbox] = mailboxes_in(_text_of(file, "--source-folders"), separator) if file else {}
    return {box.guid: tuple(encoded(part) for part in name.split("/")) for name, box in boxes.items()}


def _text_of(file: Path, option: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}", param_hint=option) from error


def _name(folder: str) -> Name:
    try:
        return parts("/".join(encoded(part) for part in folder.split("/")), "/")
    except BadMail as error:
        raise typer.BadParameter(str(error), param_hint="--folder") from error
