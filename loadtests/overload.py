#!/usr/bin/env python3
"""Too much of everything, and what becomes of everybody else.

A real ``tierproxy serve`` in front of SeaweedFS, and clients from two addresses of the loopback: a noisy one that
floods, dawdles, scans or misses, and a quiet one that wants little and has to get it. Memory and descriptors of the
proxy are sampled all the time, and a scene is over when they are back to normal and a newcomer is served.

Ends with 0 only if memory and descriptors stayed inside their bounds, everybody was served or told 503 with Retry-After
and nothing else, the quiet client got all it asked for, the proxy was back to normal soon, and hits kept half of
their rate while misses stormed. Rates say something within one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import overload_scenes as scenes
import psutil
import report
import uvloop
from overload_clients import Address, Client, Tally, all_of, asked, get, put
from served import BUCKET, Failed, Served, allow_sockets, config_for, seaweed, served, workplace

from tierproxy.alt.client import s3_client
from tierproxy.config.sections import AltSection, BucketSection, Config
from tierproxy.config.values import Duration, Size
from tierproxy.model import FillPolicy
from tierproxy.testing.certificates import write_certificate

PAGE = report.PAGE.with_name("reliability.md")
SAMPLING = 0.05
NORMAL = 15.0  #: seconds until everything is as before
RATIO = 0.5  #: of hits beside a storm of misses
KEPT = 600  #: descriptors that may stay open on purpose: connections to alt, small blobs
ORIGIN = "127.0.0.1"
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Scene:
    """``stage``: which configuration it is played on. ``memory``: MiB above those before that are allowed."""

    name: str
    play: scenes.Play
    stage: str
    memory: int


SCENES = (
    Scene("flood of connections", scenes.flood, "narrow", 160),  # its start takes up what the storm's reads have left
    Scene("idle connections", scenes.idle, "plain", 250),
    Scene("slow readers of alt", scenes.slow_readers, "plain", 520),  # 320 bodies of 1.6 MiB
    Scene("slow writers and heads", scenes.slow_writers, "narrow", 150),
    Scene("uploads that trickle", scenes.trickled_uploads, "small disk", 100),
    Scene("hot key", scenes.hot_key, "plain", 160),  # history of 31,000 reads a second; no more after six times as long
    Scene("scan of everything", scenes.scan, "plain", 200),
    Scene("misses beside hits", scenes.storm, "plain", 300),
    Scene("upload queue full", scenes.full_queue, "cut off", 100),
    Scene("flood of connections, TLS", scenes.flood, "narrow TLS", 200),
    Scene("idle connections, TLS", scenes.idle, "TLS", 500),
    Scene("slow readers of alt, TLS", scenes.slow_readers, "TLS", 900),
    Scene("slow writers and heads, TLS", scenes.slow_writers, "narrow TLS", 250),
    Scene("slow readers of hits, workers", scenes.slow_hits, "workers", 400),
    Scene("slow readers of alt, workers", scenes.slow_readers, "workers", 700),
    Scene("slow writers and heads, workers", scenes.slow_writers, "narrow workers", 200),
)


@dataclass
class Watched:
    """Memory and descriptors of the node and its hit workers: before, at most, after."""

    proxy: Served
    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self) -> None:
        with suppress(psutil.Error):
            node = psutil.Process(self.proxy.pid)
            everybody = [node, *node.children()]
            memory, descriptors = sum(_memory(one) for one in everybody), sum(one.num_fds() for one in everybody)
            self.memory.append(memory)
            self.descriptors.append(descriptors)

    @contextmanager
    def watching(self) -> Iterator[None]:
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), name="watch")
        self.look()
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(SAMPLING):
            self.look()


def _memory(process: psutil.Process) -> int:
    """Its own: what processes share is there once (RSS less what is shared), which for one alone changes nothing."""
    found = process.memory_info()
    return int(found.rss - found.shared)


def address_of(proxy: Served) -> Address:
    return Address(*proxy.address, tls=proxy.url.startswith("https:"))


@dataclass
class Result:
    scene: Scene
    played: scenes.Played
    watched: Watched
    normal: float | None

    def row(self) -> list[str]:
        memory = [f"{value / 2**20:.0f}" for value in _three(self.watched.memory)]
        descriptors = [f"{value:,}" for value in _three(self.watched.descriptors)]
        noisy, quiet = self.played.noisy, self.played.quiet
        ratio = "" if self.played.ratio is None else f"{self.played.ratio:.2f}"
        errors = sum((noisy.errors + quiet.errors).values())
        return [
            self.scene.name, " / ".join(memory), " / ".join(descriptors), f"{noisy.served:,}", f"{noisy.refused:,}",
            f"{noisy.closed:,}", f"{quiet.served:,} of {self.played.wanted:,}", str(errors), ratio,
            "no" if self.normal is None else f"{self.normal:.1f}", self.played.note,
        ]  # fmt: skip

    def wrong(self) -> list[str]:
        before, peak, _ = _three(self.watched.memory)
        found = []
        if peak - before > self.scene.memory * 2**20:
            found.append(f"{(peak - before) / 2**20:.0f} MiB more memory, {self.scene.memory} are allowed")
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if max(self.watched.descriptors) >= soft:
            found.append(f"all of {soft} descriptors were taken")
        errors = self.played.noisy.errors + self.played.quiet.errors
        if errors:
            found.append(f"answers that are none: {dict(errors)}")
        if self.played.quiet.served != self.played.wanted:
            found.append(f"the quiet client got {self.played.quiet.served} of {self.played.wanted} answers")
        if self.played.ratio is not None and self.played.ratio < RATIO:
            found.append(f"hits kept {self.played.ratio:.2f} of their rate, {RATIO} is the least")
        if self.normal is None:
            found.append(f"not back to normal after {NORMAL:.0f} s")
        return [f"{self.scene.name}: {one}" for one in found]


HEAD = (
    "scene", "memory MiB: before / peak / after", "descriptors: before / peak / after", "served", "503 + Retry-After",
    "closed", "quiet client served", "errors", "hits under load", "normal after s", "",
)  # fmt: skip


def _three(samples: Sequence[int]) -> tuple[int, int, int]:
    return samples[0], max(samples), samples[-1]


async def normal_again(watched: Watched) -> float | None:
    """Seconds until descriptors are those of before, but for what is kept on purpose, and a newcomer is served."""
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < NORMAL:
        tally = Tally()
        await asked(Client(address_of(watched.proxy), ORIGIN, tally), [get(scenes.HOT)], may_close=True)
        watched.look()
        if tally.served and watched.descriptors[-1] <= watched.descriptors[0] + KEPT:
            return passed
        await asyncio.sleep(0.05)
    return None


async def play(scene: Scene, proxy: Served, size: scenes.Size) -> Result:
    await asked(Client(address_of(proxy), ORIGIN, Tally()), [get(scenes.HOT)] * 3)
    watched, played = Watched(proxy), scenes.Played()
    with watched.watching():
        await scene.play(address_of(proxy), size, played)
        normal = await normal_again(watched)
    watched.look()
    return Result(scene, played, watched, normal)


def stages(directory: Path, alt: AltSection) -> dict[str, Config]:
    """``plain``: as it comes. ``narrow``: few connections and requests. ``small disk``: a budget that uploads exceed.
    ``cut off``: alt is not there. With TLS, and with hit workers."""
    buckets = (
        BucketSection(name=BUCKET), BucketSection(name="filled"), BucketSection(name="unfilled", fill=FillPolicy.NEVER),
    )  # fmt: skip
    plain = config_for(directory, alt, bucket=buckets)
    plain = replace(plain, listen=replace(plain.listen, auth="none"))
    narrow = replace(plain, listen=replace(plain.listen, max_connections=500, max_concurrent_requests=64))
    nowhere = replace(alt, endpoint="http://127.0.0.1:9", retry_timeout=Duration(0.1), connect_timeout=Duration(0.5))
    apart = replace(plain, node=replace(plain.node, data_dir=str(directory / "apart")))
    cut_off = replace(apart, alt=replace(nowhere, check_at_start=False), queue=replace(plain.queue, max_jobs=20))
    small = replace(plain, disk=replace(plain.disk, max_bytes=Size(scenes.DISK)))
    certificate, key = write_certificate(directory, "localhost")
    found = {"plain": plain, "narrow": narrow, "small disk": small, "cut off": cut_off}
    for name, config in (("", plain), ("narrow ", narrow)):
        listen = config.listen
        found[f"{name}TLS"] = replace(config, listen=replace(listen, tls_certificate=certificate, tls_key=key))
        found[f"{name}workers"] = replace(config, listen=replace(listen, workers=WORKERS))
    return found


async def prepare(proxy: Served, stage: str, cold: int) -> None:
    """A hot object, and many that only alt has."""
    only_alt, tally = "x-tierproxy-ack: alt\r\n", Tally()
    only_disk = "x-tierproxy-ack: disk\r\n"
    near = {scenes.HOT: scenes.SMALL, "/mail/other": scenes.SMALL, scenes.LARGE: scenes.LARGE_HIT}
    hot = [put(path, size, more=only_disk) + bytes(size) for path, size in near.items()]
    await asked(Client(address_of(proxy), ORIGIN, tally), [*hot, *map(get, near)])
    names = [f"/unfilled/cold/{n}" for n in range(50)] if stage in {"plain", "TLS", "workers"} else []
    names += [f"/filled/cold/{n}" for n in range(cold)] if stage == "plain" else []
    bodies = [put(name, scenes.SMALL, more=only_alt) + bytes(scenes.SMALL) for name in names]
    await all_of(asked(Client(address_of(proxy), ORIGIN, tally), bodies[start::16]) for start in range(16))
    if tally.errors or tally.refused:
        raise Failed(f"preparing: {tally}")


def run(options: argparse.Namespace) -> list[Result]:
    size = scenes.Size(
        options.flood, options.idle, options.slow, options.seconds, options.connections, options.cold, options.rounds
    )  # fmt: skip
    wanted = [scene for scene in SCENES if not options.only or any(word in scene.name for word in options.only)]
    results = []
    with workplace(options.dir, 2**30) as directory, seaweed(directory, BUCKET, "filled", "unfilled") as alt:
        with closing(s3_client(alt.section())) as client:
            client.put_object(Bucket="unfilled", Key="slow", Body=bytes(scenes.SLOW_OBJECT))
        for stage, config in stages(directory, alt.section()).items():
            played = [scene for scene in wanted if scene.stage == stage]
            if not played:
                continue
            place = directory / stage.replace(" ", "-")
            place.mkdir()
            with served(place, config) as proxy:
                uvloop.run(prepare(proxy, stage, options.cold))
                for scene in played:
                    results.append(uvloop.run(play(scene, proxy, size)))
                    print(" | ".join(results[-1].row()), flush=True)
    return results


def keep(text: str) -> None:
    """Into ``docs/reliability.md``, between the marks of its section."""
    page = PAGE.read_text()
    begin, end = "<!-- overload: begin -->", "<!-- overload: end -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise Failed(f"{PAGE.name} has no section for it")
    PAGE.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flood", type=int, default=5000, help="connections of the flood (default: %(default)s)")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections (default: %(default)s)")
    parser.add_argument("--slow", type=int, default=1000, help="slow readers, and slow writers (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a scene lasts (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="that hit (default: %(default)s)")
    parser.add_argument("--cold", type=int, default=20_000, help="objects only alt has (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of hits beside misses (default: %(default)s)")
    parser.add_argument("--only", nargs="*", help="scenes with one of these words in their names")
    parser.add_argument("--dir", help="where to work")
    parser.add_argument("--write", action="store_true", help="record the result in docs/reliability.md")
    options = parser.parse_args()
    try:
        allow_sockets(max(options.idle, options.flood, 2 * options.slow) + 2000)
        results = run(options)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    text = report.table(HEAD, [result.row() for result in results])
    print(text)
    if options.write:
        keep(text)
    wrong = [one for result in results for one in result.wrong()]
    print("\n".join(["FAILED:", *wrong]) if wrong else f"OK: {len(results)} scenes of too much, and nobody paid for it")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
