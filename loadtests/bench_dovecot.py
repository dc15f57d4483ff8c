"""Dovecot on ext4, on tierproxy's mount, on s3fs, on rclone and on bindfs, side by side in one run.

Every contender has the same Dovecot, gets the same letters in the same order, and reaches the same SeaweedFS through a
relay that counts requests. Rounds are short and taken in turns. Needs root, /dev/fuse, and the Debian packages of
tests/install-debian-packages.sh.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path

import obstore
import report
from bench_store import Goal
from mounts.actions import ACTIONS, ALTMOVE, COLD, COPY, DELIVER, EXPUNGE, HEADERS, MOVE, ON_DISK, SELECT, Stage
from mounts.contenders import AckBoth, AckDisk, Bindfs, Contender, OnS3, Rclone, S3fs, Tierproxy
from mounts.crowd import NEW, OLD, Lived, late, live, prepare
from obstore.store import S3Store
from served import workplace

from tierproxy.dovecot.private import installed
from tierproxy.embedded import EmbeddedS3
from tierproxy.testing.imap import Letter, letter
from tierproxy.testing.mails import mail
from tierproxy.testing.s3relay import S3Relay, counted

ALL: tuple[type[Contender], ...] = (Contender, AckDisk, AckBoth, S3fs, Rclone, Bindfs)
FAR = 0.03  #: seconds added to each request of deliveries to an S3 that is far away
AWAY = "away"  #: who gets them: what another user's mail is called in S3 is theirs already
SLOW = 0.1  #: seconds added to each request to S3
SMALLEST, LARGEST = 12_000, 200_000  #: bytes of a mail; smaller ones are in their stubs, whole, and need no GET
ROOM = 8 * 2**30
USERS = 20
VARIETY = 40  #: different mails, where there are many


def letters(seed: int) -> Iterator[Letter]:
    """Real in form, larger than their stubs, numbered."""
    drawn = (mail(number, seed).content for number in count(1))
    fitting = (content for content in drawn if SMALLEST <= len(content) <= LARGEST)
    return (letter(number, content) for number, content in enumerate(fitting, 1))


def varied(seed: int) -> Iterator[Letter]:
    """Quickly made: of ``VARIETY`` contents."""
    contents = [one.content for one in islice(letters(seed), VARIETY)]
    return (letter(number, contents[number % VARIETY]) for number in count(1))


class Bench:
    """Tables to print, and goals."""

    def __init__(self, options: argparse.Namespace, directory: Path, seaweed: EmbeddedS3) -> None:
        self.options = options
        self.directory = directory
        self.seaweed = seaweed
        self.tables: list[str] = []
        self.goals: list[Goal] = []

    def add(self, title: str, table: str) -> None:
        self.tables.append(f"### {title}\n\n{table}")
        print(f"\n{title}\n\n{table}", flush=True)

    def at_most(self, what: str, measured: float, wanted: float) -> None:
        self.goals.append(Goal(what, measured, wanted, least=False))

    def text(self) -> str:
        facts = [*report.machine(self.directory), ("dovecot", str(installed()))]
        goals = report.table(("goal", "measured", "wanted", "met"), [goal.row() for goal in self.goals])
        lines = "\n".join(f"- {name}: {value}" for name, value in facts)
        return "\n\n".join([lines, *self.tables, f"### Goals\n\n{goals}"])


# ---------------------------------------------------------------- one action after the other


class Puts:
    """One PUT of each letter, straight to S3 by way of a relay: what ack both cannot do without."""

    def __init__(
        self, stack: ExitStack, seaweed: EmbeddedS3, drawn: Sequence[Letter], bucket: str = "puts", delay: float = 0.0
    ) -> None:  # fmt: skip
        seaweed.make_bucket(bucket)
        relay = stack.enter_context(S3Relay("127.0.0.1", seaweed.ports["s3"]))
        relay.set(delay=delay)
        self._store = S3Store(
            bucket, endpoint=relay.endpoint, access_key_id=seaweed.access_key, secret_access_key=seaweed.secret_key,
            region="us-east-1", client_options={"allow_http": True},
        )  # fmt: skip
        self._letters = iter(drawn)
        self.milliseconds: list[float] = []

    def round(self, size: int) -> None:
        for one in islice(self._letters, size):
            begin = time.perf_counter()
            obstore.put(self._store, f"u.{one.number}", one.content)
            self.milliseconds.append((time.perf_counter() - begin) * 1000)


def measure_actions(bench: Bench) -> None:
    options = bench.options
    drawn = list(islice(letters(11), 2 + options.rounds * options.size))
    with ExitStack() as stack:
        stages = []
        for kind in options.contenders:
            contender = kind(bench.directory / "actions", bench.seaweed, ["u1"])
            stack.enter_context(contender.running())
            stages.append(Stage(contender, drawn))
        puts = Puts(stack, bench.seaweed, drawn)
        for stage in stages:
            stage.warm()
        for number in range(options.rounds):
            for stage in stages if number % 2 == 0 else reversed(stages):
                stage.round(options.size)
            puts.round(options.size)
    _show(bench, stages, late(puts.milliseconds, 0.5))


def _show(bench: Bench, stages: Sequence[Stage], put: float) -> None:
    head = ["ms: median (95 of 100)", *(stage.contender.name for stage in stages)]
    bench.add(
        f"actions; one PUT straight to S3 takes {put:.1f} ms",
        report.table(head, [[action, *(_time(stage, action) for stage in stages)] for action in ACTIONS]),
    )
    base = next((stage for stage in stages if type(stage.contender) is Contender), None)
    if base is not None:
        rows = [[action, *(_ratio(stage, base, action) for stage in stages)] for action in ACTIONS]
        bench.add("actions; ratio of medians to ext4", report.table(["", *head[1:]], rows))
    remote = [stage for stage in stages if isinstance(stage.contender, OnS3)]
    bench.add(
        "requests to S3 of one action",
        report.table(
            ["", *(stage.contender.name for stage in remote)],
            [[action, *(_requests(stage, action) for stage in remote)] for action in ACTIONS],
        ),
    )
    if base is not None:
        _judge(bench, stages, base, put)


def _time(stage: Stage, action: str) -> str:
    middle, slow = stage.measured.median(action), stage.measured.late(action)
    if action in stage.measured.broken:
        return "fails"
    return "-" if middle is None or slow is None else f"{middle:.1f} ({slow:.1f})"


def _ratio(stage: Stage, base: Stage, action: str) -> str:
    mine, other = stage.measured.median(action), base.measured.median(action)
    return "-" if action in stage.measured.broken or not mine or not other else f"{mine / other:.1f}"


def _requests(stage: Stage, action: str) -> str:
    if action in stage.measured.broken:
        return "fails"
    found = stage.measured.each(action)
    return ", ".join(f"{number:.4g} {kind}" for kind, number in found.items()) or "0"


WANTED: dict[str, dict[str, float]] = {
    DELIVER: {"PUT": 1}, ON_DISK: {}, COLD: {"GET": 1}, HEADERS: {}, COPY: {"COPY": 1}, MOVE: {"COPY": 1, "DELETE": 1},
    EXPUNGE: {"DELETE": 1}, SELECT: {}, ALTMOVE: {"PUT": 1},
}  # fmt: skip
"""The request table of the mount."""


def _judge(bench: Bench, stages: Sequence[Stage], base: Stage, put: float) -> None:
    plain, disk_plain = base.measured.median(DELIVER) or 0.0, base.measured.median(ON_DISK) or 0.0
    for stage in stages:
        name = stage.contender.name
        if isinstance(stage.contender, AckDisk):
            bench.at_most(f"{name}, delivery: ratio to ext4", _median(stage, DELIVER) / plain, 2)
        if isinstance(stage.contender, AckBoth):
            bench.at_most(f"{name}, delivery: ms beyond ext4, in PUTs", (_median(stage, DELIVER) - plain) / put, 1.2)
        if isinstance(stage.contender, Tierproxy):
            bench.at_most(f"{name}, read on disk: ratio to ext4", _median(stage, ON_DISK) / disk_plain, 2.5)
            for action, wanted in WANTED.items():
                found = stage.measured.each(action)
                more = sum(abs(found.get(kind, 0) - wanted.get(kind, 0)) for kind in {*found, *wanted})
                told = ", ".join(f"{number:g} {kind}" for kind, number in wanted.items()) or "none"
                bench.at_most(f"{name}, {action}: requests other than {told}", more, 0)


def _median(stage: Stage, action: str) -> float:
    return stage.measured.median(action) or float("inf")


# ---------------------------------------------------------------- S3 that is far away


def measure_far(bench: Bench) -> None:
    """Deliveries with ``FAR`` seconds added to each request to S3, as over a network. What a delivery costs beside the
    PUT is the same; on loopback, where a PUT takes as long as a page of Python, it is most of it."""
    options = bench.options
    drawn = list(islice(letters(14), (1 + options.rounds) * options.size))
    place = bench.directory / "far"
    with ExitStack() as stack:
        made = [kind(place, bench.seaweed, [AWAY]) for kind in (Contender, AckDisk, AckBoth)]
        for contender in made:
            stack.enter_context(contender.running())
            if contender.relay is not None:
                contender.relay.set(delay=FAR)
        puts = Puts(stack, bench.seaweed, drawn, "far-puts", FAR)
        times: list[list[float]] = [[] for _ in made]
        for number in range(options.rounds + 1):
            for mine, contender in zip(times, made, strict=True):
                mine.extend(deliveries(contender, AWAY, drawn[number * options.size : (number + 1) * options.size]))
            puts.round(options.size)
    _show_far(bench, made, [mine[options.size :] for mine in times], late(puts.milliseconds, 0.5))  # warm by then


def _show_far(bench: Bench, made: Sequence[Contender], times: Sequence[list[float]], put: float) -> None:
    away = f"{FAR * 1000:.0f} ms"
    bench.add(
        f"deliveries with {away} added to each request to S3; one PUT straight to S3 takes {put:.1f} ms",
        report.table(
            ["", "median ms", "95 of 100 ms"],
            [[one.name, f"{late(mine, 0.5):.1f}", f"{late(mine, 0.95):.1f}"]
             for one, mine in zip(made, times, strict=True)],
        ),
    )  # fmt: skip
    beyond = late(times[-1], 0.5) - late(times[0], 0.5)
    bench.at_most(f"{made[-1].name}, delivery, S3 {away} away: ms beyond ext4, in PUTs", beyond / put, 1.2)


def deliveries(contender: Contender, user: str, some: Sequence[Letter]) -> list[float]:
    """Milliseconds of each, with nothing else going on."""
    contender.settle()
    found = []
    with contender.lmtp() as post:
        for one in some:
            begin = time.perf_counter()
            post.deliver(user, one)
            found.append((time.perf_counter() - begin) * 1000)
    return found


# ---------------------------------------------------------------- force-resync


RESYNCED = "resynced"
"""Nobody else's: mails that another part left in S3 have no stub in this part's node, and would be counted."""


def measure_resync(bench: Bench) -> None:
    """Mail files of a Dovecot on ext4 are given to the others, whose index is made from them, and then made anew."""
    drawn = list(islice(varied(12), bench.options.resync))
    place = bench.directory / "resync"
    rows = []
    with ExitStack() as stack:
        source = Contender(place, bench.seaweed, [RESYNCED])
        stack.enter_context(source.running())
        with source.lmtp() as post:
            for one in drawn:
                post.deliver(RESYNCED, one)
        files = {str(path.relative_to(source.mail)): path.read_bytes() for path in source.mail.rglob("u.*")
                 if path.is_file()}  # fmt: skip
        for kind in bench.options.contenders:
            contender = source if kind is Contender else kind(place, bench.seaweed, [RESYNCED])
            with ExitStack() as inner:
                if contender is not source:
                    inner.enter_context(contender.running())
                    contender.plant(files)
                rows.append(_resync(bench, contender, len(files)))
    head = ["", "mails found", "seconds", "requests to S3"]
    bench.add(f"force-resync of {len(drawn):,} mails that are not on disk", report.table(head, rows))


def _resync(bench: Bench, contender: Contender, wanted: int) -> list[str]:
    contender.evict()
    contender.take()
    begin = time.perf_counter()
    contender.main.doveadm("force-resync", "-u", RESYNCED, "*", seconds=600)
    seconds = time.perf_counter() - begin
    found = counted(contender.take())
    with contender.imap(RESYNCED) as session:
        mails = session.select()
    if isinstance(contender, Tierproxy):
        bench.at_most(f"{contender.name}, force-resync of purged mail: GETs", found["GET"], 0)
        bench.at_most(f"{contender.name}, force-resync of purged mail: mails not found", wanted - mails, 0)
    return [contender.name, f"{mails:,}", f"{seconds:.2f}", _told(found)]


def _told(found: Counter[str]) -> str:
    return ", ".join(f"{number:,} {kind}" for kind, number in sorted(found.items())) or "0"


# ---------------------------------------------------------------- many users


def measure_crowd(bench: Bench) -> None:
    users = [f"user{number}" for number in range(1, bench.options.users + 1)]
    drawn = varied(13)
    rows: list[list[str]] = []
    found: dict[float, Lived] = {}
    with ExitStack() as stack:
        contender = AckDisk(bench.directory / "crowd", bench.seaweed, users)
        stack.enter_context(contender.running())
        prepare(contender, users, list(islice(drawn, len(users) * (OLD + NEW))))
        assert contender.relay is not None
        for number, delay in enumerate((0.0, SLOW)):
            contender.relay.set(delay=delay)
            found[delay] = live(contender, users, drawn, bench.options.seconds, 1 + number * OLD // 2)
            contender.relay.set()
            contender.settle()
            rows += [
                [f"{delay * 1000:.0f} ms", what, str(len(values)), f"{late(values, 0.5):.1f}", f"{late(values):.1f}"]
                for what, values in (
                    ("read, on disk", found[delay].hits), ("read, not on disk", found[delay].misses),
                    ("delivery, ack disk", found[delay].deliveries),
                )
            ]  # fmt: skip
    head = ["added to each request", "", "times", "median ms", "99 of 100 ms"]
    bench.add(f"{len(users)} users read and receive at once", report.table(head, rows))
    bench.at_most("reads on disk with a slow S3: 99 of 100, ratio", late(found[SLOW].hits) / late(found[0.0].hits), 2)


MEASURED: dict[str, Callable[[Bench], None]] = {
    "actions": measure_actions, "far": measure_far, "resync": measure_resync, "crowd": measure_crowd,
}  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {kind.name: kind for kind in ALL}
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--size", type=int, default=16, help="operations of each action in a round")
    parser.add_argument("--resync", type=int, default=2000, help="mails of the force-resync")
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--seconds", type=float, default=20.0, help="of many users, with and without delay")
    parser.add_argument("--only", action="append", choices=sorted(MEASURED), help="parts; default: all")
    parser.add_argument("--contender", action="append", choices=sorted(names), help="default: all")
    parser.add_argument("--quick", action="store_true", help="a look: two small rounds")
    parser.add_argument("--write", action="store_true", help="put the numbers into docs/benchmarks.md")
    parser.add_argument("--dir", help="where to work; paths of sockets must be short")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.size, options.resync, options.seconds, options.users = 2, 4, 100, 3.0, 5
    options.contenders = [names[name] for name in options.contender] if options.contender else list(ALL)
    return options


def main() -> int:
    options = arguments()
    with workplace(options.dir, ROOM) as directory:
        directory.chmod(0o755)  # the owner of all mail passes through it
        with EmbeddedS3(directory / "alt") as seaweed:
            bench = Bench(options, directory, seaweed)
            for part in options.only or MEASURED:
                MEASURED[part](bench)
            text = bench.text()
    report.conclude("dovecot", text, bench.goals, write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
