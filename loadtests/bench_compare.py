#!/usr/bin/env python3
"""tierproxy beside its peers, all in one run: nginx (files, and proxy_cache), Varnish (malloc, and a file), rclone
serve http, the JuiceFS S3 gateway, SeaweedFS (S3, and the filer's HTTP port), obstore and boto3.

  hits    16 KiB objects that are near: from memory and from files, with and without SigV4, hit workers on and off
  misses  each object once: by obstore and boto3 straight to S3 and through tierproxy; by one HTTP client through all
  puts    16 KiB, 1 and 16 at once, each acknowledgement, beside plain write + fsync
  mail    sizes of mail, four reads of five by Zipf's law, and a PUT
  large   64 MiB in and out
  heads   HEAD
  lists   pages of a listing

Installs what is missing (Debian packages as root, JuiceFS into var/compare), starts everybody on loopback without any
service of the system, each configured as its documentation recommends for speed (loadtests/compare/peers.py), and ends
them. Rounds are taken in turns; medians count; every claim is a ratio within the run. Answers are checked: status and
length of all, digests of some, before and after. A peer that cannot take part is a line, not a failure. wrk asks where
it can; what the client took of the processors stands beside each rate, because client and servers share them.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

import report
import uvloop
from compare import hits, large, looks, misses, writes
from compare.programs import install_debian
from compare.stage import PEERS, WORKERS, Stage
from served import Failed, seaweed, workplace

from tierproxy.embedded import EmbeddedS3

SCENARIOS = ("hits", "misses", "puts", "mail", "large", "heads", "lists")
PACKAGES = ("nginx-light", "varnish", "rclone", "redis-server", "wrk")
ROOM = 24 * 2**30


async def run(options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> Stage:
    async with Stage(options, directory, alt) as stage:
        cold = misses.Cold(stage) if "misses" in options.only else None
        await stage.load()
        plays = {
            "hits": hits.run, "puts": writes.run_puts, "mail": writes.run_mixed, "large": large.run,
            "heads": looks.run_heads, "lists": looks.run_lists,
        }  # fmt: skip
        for name in SCENARIOS:
            if name in options.only and name in plays:
                await plays[name](stage)
            elif cold is not None and name == "misses":
                await misses.run(stage, cold)
    return stage


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=SCENARIOS, help="measure only these")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, help="only these (default: all)")
    parser.add_argument(
        "--workers", nargs="+", type=int, default=WORKERS, help="settings of [listen] workers to measure"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds; medians count (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a contender's round (default: %(default)s)")
    parser.add_argument("--objects", type=int, default=1000, help="small objects, and mails (default: %(default)s)")
    parser.add_argument("--cold", type=int, default=400, help="misses in a round (default: %(default)s)")
    parser.add_argument("--large", type=int, default=64, help="MiB of a large object (default: %(default)s)")
    parser.add_argument("--rest", type=float, default=1.0, help="seconds after each round of misses, for fills")
    parser.add_argument("--quick", action="store_true", help="everything, briefly: to see that it works")
    parser.add_argument("--write", action="store_true", help="record a whole run, and charts, in docs/")
    parser.add_argument("--no-install", dest="install", action="store_false", help="take what is there")
    parser.add_argument("--dir", help="where to work; the numbers are about this file system")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.objects, options.cold, options.large = 1, 1.0, 100, 40, 4
        options.rest = 0.2
    options.large *= 2**20
    if options.write and (options.quick or set(options.only) < set(SCENARIOS) or set(options.peers) < set(PEERS)):
        parser.error("--write records a whole run")
    return options


def main() -> int:
    options = parsed()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended, then, too
    if options.install:
        install_debian(*PACKAGES)
    try:
        with workplace(options.dir, 2**30 if options.quick else ROOM) as directory, seaweed(directory) as alt:
            stage = uvloop.run(run(options, directory, alt))
            text = stage.findings.text(directory)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    if options.write:
        stage.findings.draw()
    report.conclude("compare", text, stage.findings.goals, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
