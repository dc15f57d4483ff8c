"""All commands under one name; each is imported when it is asked for."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from tierproxy.cli.lazy import LazyGroup, Place
from tierproxy.cli.outcome import EPILOG

NODE, DATA, READS, WHAT_IF = "The node", "Data directory", "Reads and purges", "What if"
OBJECTS = "Objects of a running proxy"

PLACES = (
    Place("serve", "serve:serve", NODE, "Serve S3 clients until SIGTERM or Ctrl-C; SIGHUP reloads the configuration."),
    Place(
        "mount",
        "mount:mount",
        NODE,
        "Mount a bucket, or what is below a prefix, as a file system. Ends by SIGTERM, Ctrl-C or umount; nothing stays "
        "mounted.",
    ),
    Place(
        "demo",
        "demo:demo",
        NODE,
        "Start an embedded S3 server and the proxy in front of it, play mails through, show what happened, serve on.",
    ),
    Place(
        "demo-dovecot",
        "demo.dovecot:demo_dovecot",
        NODE,
        "Start an embedded S3 server, the proxy, its mount and a private Dovecot, and show what mail costs in S3 "
        "requests. Needs root, Dovecot and FUSE; everything is stopped at the end.",
    ),
    Place(
        "status",
        "status:status",
        NODE,
        "Is mail safe, is it fast, is there room: of the running node, or what its data directory says without one.",
    ),
    Place(
        "check",
        "check:check",
        DATA,
        "Compare files with the catalogue, and the catalogue with files (and with alt: --alt). Stop the node first.",
    ),
    Place(
        "stats",
        "stats:stats",
        READS,
        "How many mails were read 0, 1, 2, 3-5, 6+ times, by age; or by owner, folder, rule or day of reading.",
    ),
    Place(
        "explain",
        "explain:explain",
        READS,
        "Where an object is, every rule with its numbers, which one decides, what comes next. "
        "Beside a running node or without one.",
    ),
    Place(
        "purge",
        "purge:purge",
        READS,
        "Remove from disk what the rules purge, now. Alt has every object that goes. A running node "
        "does it; Ctrl-C asks it to stop.",
    ),
    Place("runs", "runs:runs", READS, "Purge runs, by rules, by pressure and by command: when, why, how much."),
    Place(
        "pin",
        "pins:pin",
        READS,
        "Keep objects on disk until then. All of them or, when one is not known, none. Works beside a running node.",
    ),
    Place(
        "unpin",
        "pins:unpin",
        READS,
        "Leave objects to the rules again; those that are not pinned are fine. A rule's pin is not changed by this.",
    ),
    Place(
        "warm",
        "warm:warm",
        READS,
        "Fetch what is below a prefix and not on disk. Needs a running node. Ctrl-C stops after the objects under way.",
    ),
    Place(
        "reindex",
        "reindex:reindex",
        READS,
        "Say what the mails of an owner or below a prefix are, from their metadata. Needs a running node; reads no "
        "bodies.",
    ),
    Place(
        "simulate",
        "simulate:simulate",
        WHAT_IF,
        "Replay recorded traffic through rules and policies: what each would have cost and saved.",
    ),
    Place(
        "curve",
        "curve:curve",
        WHAT_IF,
        "The smallest disk for a hit ratio: what least recently used first would reach on a disk of any size.",
    ),
    Place(
        "advise",
        "advise:advise",
        WHAT_IF,
        "Search better rules on recorded traffic: at most three proposals, or the reason why nothing helps.",
    ),
    Place("get", "objects:get", OBJECTS, "Fetch an object. A file is complete or is not there."),
    Place("put", "objects:put", OBJECTS, "Store a file as an object."),
    Place("stat", "objects:stat", OBJECTS, "Say what is known of an object, and which tiers hold it."),
    Place("ls", "objects:ls", OBJECTS, "List buckets, or the objects below a prefix. Directories end with /."),
    Place(
        "rm",
        "objects:rm",
        OBJECTS,
        "Delete objects, in both tiers. S3 does not say whether an object was there; this command asks before.",
    ),
    Place("import", "importing:commands", DATA, "Import mail: maildir, sdbox, mbox."),
    Place("queue", "queue:commands", DATA, "The upload queue: what alt does not have yet."),
    Place("catalogue", "catalogue:commands", DATA, "The catalogue: numbers, rebuild, sync with alt."),
    Place("dovecot", "dovecot:commands", NODE, "Dovecot on a mount: configure it, check every trap."),
    Place("config", "config:commands", NODE, "Check and explain the configuration."),
    Place("admin", "admin:commands", NODE, "The admin port: log in, passwords and tokens."),
    Place("rules", "rules:commands", READS, "Purge rules: check, show, compare, put in force."),
    Place(
        "history",
        "history:commands",
        READS,
        "History: what was read, written, deleted and purged; import and export.",
    ),
)
"""In the order in which they are shown. A test compares what is said here with what the commands say themselves."""


class Commands(LazyGroup):
    """``tierproxy``."""

    places = PLACES


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    help="An S3 object proxy with a local disk tier in front of S3.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tierproxy {importlib.metadata.version('tierproxy')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing of its own: --version is eager."""
