"""PUTs of small objects, beside plain files; and mail: four reads of five, by Zipf's law, and a PUT."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench_writes import plainly
from measuring import Contender, compare

from compare.client import Ask, Taken, ask, check, exchange
from compare.objects import SIZE, letter, popular, small
from compare.peers import Server
from compare.stage import Stage, named

AT_ONCE = (1, 16)
ACKS = ("both", "disk", "alt")
MIXED = ("seaweed-s3", "seaweed-filer", "juicefs", "nginx-static")
FASTEST = 4000  #: more PUTs a second than anybody makes
READS = 0.8
MAIL_AT_ONCE = 16
SEEN = 12  #: written objects that are read back


@dataclass(frozen=True, slots=True)
class Writer:
    """A server and what it is asked to acknowledge; ``mark``: part of the names of what it writes."""

    server: Server
    name: str
    mark: str
    ack: str = ""

    def put(self, name: str, body: bytes) -> Ask:
        return ask(self.server, "PUT", name, body, headers={"x-tierproxy-ack": self.ack} if self.ack else {})


async def writers(stage: Stage, acks: Sequence[str], *peers: str) -> list[Writer]:
    """Ours with signatures, as those of S3 are; the filer and nginx take none."""
    ours = await stage.tierproxy(auth=True)
    named_ = {"nginx-static": "nginx DAV, not durable"}
    found = [Writer(ours, f"tierproxy, ack {ack}", f"tierproxy-{ack}", ack) for ack in acks]
    for peer in peers:
        server = await stage.server(peer)
        if server is not None:
            found.append(Writer(server, named_.get(peer, server.name), peer))
    return found


def settled(stage: Stage, writer: Writer) -> Callable[[], Awaitable[None]]:
    """Until what was acknowledged by disk alone is in alt, so that nobody else pays for it."""

    async def settle() -> None:
        if writer.ack == "disk":
            await stage.uploaded(writer.server)

    return settle


# ---------------------------------------------------------------- PUT


async def run_puts(stage: Stage) -> None:
    writing = await writers(stage, ACKS, *MIXED)
    for at_once in AT_ONCE:
        contenders = [_putting(stage, writer, at_once) for writer in writing]
        plain = [
            plainly(stage.directory, at_once, stage.options.seconds, names=False),
            plainly(stage.directory, at_once, stage.options.seconds, names=True),
        ]
        contenders += plain
        await compare(contenders, stage.options.rounds)
        s3 = named(contenders, "SeaweedFS S3")
        title = f"PUT, {SIZE // 1024} KiB, {at_once} at once"
        stage.findings.add(title, contenders, [plain[0], s3], chart=f"puts-{at_once}")
        _judge_puts(stage, contenders, plain[0], at_once)


def _putting(stage: Stage, writer: Writer, at_once: int) -> Contender:
    async def measure(number: int) -> Taken:
        most = int(FASTEST * stage.options.seconds) + at_once
        names = [f"puts/{writer.mark}/{at_once}-{number}/{one}" for one in range(most)]
        puts = [writer.put(name, small(one % 256)) for one, name in enumerate(names)]
        taken = await exchange(writer.server, puts, at_once, stage.options.seconds)
        await settled(stage, writer)()
        step = max(1, taken.asked // SEEN)
        check(
            writer.server, [(names[one], small(one % 256)) for one in range(0, taken.asked - at_once, step)], hit=False
        )
        return taken

    return Contender(writer.name, measure, settled(stage, writer))


def _judge_puts(stage: Stage, contenders: Sequence[Contender], plain: Contender, at_once: int) -> None:
    both, disk, s3 = (
        named(contenders, name) for name in ("tierproxy, ack both", "tierproxy, ack disk", "SeaweedFS S3")
    )
    if both is not None and s3 is not None:
        slower = max(s3.milliseconds, plain.milliseconds)
        what = f"PUT, ack both, {at_once} at once: median beside max(PUT to SeaweedFS, plain write + fsync)"
        stage.findings.at_most(what, both.milliseconds / slower, 1.1)
    if disk is not None:
        what = f"PUT, ack disk, {at_once} at once: rate beside plain write + fsync"
        stage.findings.at_least(what, disk.rate / plain.rate, 0.75)


# ---------------------------------------------------------------- mail


async def run_mixed(stage: Stage) -> None:
    writing = await writers(stage, ("both", "disk"), *MIXED)
    fine = await stage.warm(list({writer.server.name: writer.server for writer in writing}.values()), stage.letters, 1)
    contenders = [_mailing(stage, writer) for writer in writing if writer.server in fine]
    await compare(contenders, stage.options.rounds)
    title = f"mail, {READS:.0%} reads by Zipf's law of {stage.letters.count:,} mails, {MAIL_AT_ONCE} at once"
    stage.findings.add(title, contenders, [named(contenders, "SeaweedFS S3")], chart="mail")


def _mailing(stage: Stage, writer: Writer) -> Contender:
    async def measure(number: int) -> Taken:
        most = int(FASTEST * stage.options.seconds)
        chance = random.Random(number)
        read = popular(stage.letters.count, most, chance)
        requests, written = [], list[tuple[str, bytes]]()
        for one in range(most):
            if chance.random() < READS:
                least = len(letter(read[one]))
                requests.append(ask(writer.server, "GET", f"{stage.letters.directory}/{read[one]}", least=least))
            else:
                written.append((f"new/{writer.mark}/{number}/{one}", letter(read[one])))
                requests.append(writer.put(*written[-1]))
        taken = await exchange(writer.server, requests, MAIL_AT_ONCE, stage.options.seconds)
        done = int(taken.asked * (1 - READS) * 0.8)  # surely among those that were asked
        check(writer.server, written[: done : max(1, done // SEEN)], hit=False)
        return taken

    return Contender(writer.name, measure, settled(stage, writer))
