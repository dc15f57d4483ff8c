"""``scenarios.py`` as a program: play after play, a page, a verdict."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import report
from served import Failed, seaweed, workplace

from behaviour.orders import Phase
from behaviour.page import Played, write
from behaviour.plays import PLAYS, Play
from behaviour.stage import Stage
from behaviour.town import Town
from tierproxy.embedded import EmbeddedS3
from tierproxy.testing.s3relay import S3Relay

NEED = 4 * 2**30


def run(options: argparse.Namespace) -> tuple[list[Played], list[tuple[str, str]]]:
    """Every play that was asked for. Raises Failed."""
    names = list(PLAYS) if options.scenario == "all" else [options.scenario]
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        workplace(options.dir, NEED) as directory, seaweed(directory) as alt,
        S3Relay("127.0.0.1", alt.ports["s3"]) as relay,
    ):  # fmt: skip
        facts = [
            *report.machine(directory),
            ("users", str(options.users)),
            ("hit workers", str(options.workers)),
            ("hit lane", "on" if options.lane else "off"),
        ]
        return [_played(scaled(PLAYS[name], options.users), options, directory, alt, relay) for name in names], facts


def scaled(play: Play, users: int) -> Play:
    """The play for so many users: one in five of a burst, two searches in any case, but never everybody."""
    return replace(play, acts=tuple(replace(act, phase=_scaled(act.phase, users)) for act in play.acts))


def _scaled(phase: Phase, users: int) -> Phase:
    burst = max(1, users // phase.burst) if phase.burst else 0
    return replace(phase, burst=burst, scans=min(phase.scans, max(1, users // 3)))


def _played(
    play: Play, options: argparse.Namespace, directory: Path, alt: EmbeddedS3, relay: S3Relay
) -> Played:  # fmt: skip
    below = directory / play.name
    below.mkdir()
    town = Town.drawn(options.users, options.mails, seed=options.seed, cold=play.cold)
    listen = {"workers": options.workers, "hit_lane": options.lane}
    stage, page = Stage(play, below, alt, relay, town, listen), f"{play.name}.html"
    with stage.open():
        samples = stage.perform(options.users, options.seconds, options.out / page)
        played = Played(play, samples, stage.judge(samples), page, options.ratios)
    print(f"{played.text()}\n", flush=True)
    return played


def main(about: str) -> int:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", choices=[*PLAYS, "all"])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each scenario (default: %(default)s)")
    parser.add_argument("--users", type=int, default=50, help="connections, and mailboxes (default: %(default)s)")
    parser.add_argument("--mails", type=int, default=40, help="in a mailbox, on average (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="hit workers of the node (default: %(default)s)")
    parser.add_argument("--no-lane", dest="lane", action="store_false", help="the node answers all in the ordinary way")
    parser.add_argument("--seed", type=int, default=1, help="decides on mailboxes and sizes (default: %(default)s)")
    parser.add_argument(
        "--no-ratios", dest="ratios", action="store_false",
        help="show ratios of times without judging them: for a machine that has other work",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("var/load"), help="for the pages (default: ./%(default)s)")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    try:
        played, facts = run(options)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    write(played, facts, options.out / "summary.html")
    wrong = [f"{one.play.name}: {verdict.text}" for one in played for verdict in one.wrong]
    for text in wrong:
        print(text)
    requests = sum(len(one.samples) for one in played)
    print(f"FAILED: {len(wrong)} did not hold" if wrong else f"OK: everything held, {requests} requests")
    return 1 if wrong else 0
