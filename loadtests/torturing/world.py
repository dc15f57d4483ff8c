"""What torture happens to: SeaweedFS, two relays (one of HTTP, one of TCP), a small file system, and a node."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ledger import Ledger
from served import ENVIRONMENT, Failed, Process, config_for

from tierproxy.alt.mapping import BucketMap
from tierproxy.config.sections import (
    AltSection,
    BucketSection,
    Config,
    DiskSection,
    NodeSection,
    PurgeSection,
    QueueSection,
    StubsSection,
    WriteSection,
)
from tierproxy.config.values import Duration, Share, Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.model import Ack, ObjectName
from tierproxy.testing.nursery import Nursery
from tierproxy.testing.s3relay import S3Relay
from torturing.network import Network
from torturing.node import Node
from torturing.volume import Volume, volume

BUCKETS = (
    BucketSection(name="mail"),
    BucketSection(name="archive", alt_bucket="deep", alt_prefix="archive/", hash_prefix=True, ack=Ack.DISK),
    BucketSection(name="shared", alt_bucket="deep", alt_prefix="shared/", exclusive=False),
)
ALT_BUCKETS = ("mail", "deep")
VOLUME_MEGABYTES, VOLUME_INODES = 160, 6000
RULES = """
[budget]
min_on_disk = "0s"

[[rule]]
name = "torture {number}"
when = {{ size = ">= {size}", idle = "> {idle}s" }}
then = "purge"

[pressure]
order = "{order}"
"""
ORDERS = ("lru", "fifo", "lfu", "gdsf", "sieve", "s3-fifo")


@dataclass
class World:
    """``rules``: the node's rule file; ``map``: where in alt objects are; ``damaged``: blobs that were, by name;
    ``beside_node``: commands of an operator that run."""

    directory: Path
    alt: EmbeddedS3
    http: S3Relay
    network: Network
    volume: Volume
    node: Node
    ledger: Ledger
    map: BucketMap
    damaged: set[str] = field(default_factory=set)
    beside_node: list[Process] = field(default_factory=list)

    @property
    def buckets(self) -> list[str]:
        return [bucket.name for bucket in BUCKETS]

    @property
    def rules(self) -> Path:
        return self.directory / "rules.toml"

    def in_alt(self, name: ObjectName) -> tuple[str, str]:
        """Alt's bucket and key."""
        return self.map.locate(name)

    def prepare(self) -> None:
        """A bucket with hashed keys cannot be listed in order: somebody has to say that the catalogue is complete."""
        done = self.node.command("catalogue", "sync")
        if done.code:
            raise Failed(f"tierproxy catalogue sync: {done.errors}")

    def beside(self, *arguments: str) -> None:
        """Run a ``tierproxy`` command and do not wait for it."""
        self.beside_node = [command for command in self.beside_node if command.poll() is None]
        self.beside_node.append(self.node.begin_command(*arguments))

    def nobody_beside(self) -> None:
        """Commands that still run are ended: they keep files of the volume open."""
        while self.beside_node:
            command = self.beside_node.pop()
            command.kill()
            command.wait()

    def heal(self) -> None:
        """Everything around the node is as it should be. A node on a broken disk is killed."""
        self.nobody_beside()
        self.volume.relieve()
        if self.volume.failed:
            self.node.kill()
            self.volume.repair()
        self.network.heal()
        self.http.set()
        self.node.jump(0.0)
        self.start_s3()

    def start_s3(self) -> None:
        """Nobody reaches it before it stores objects: until then it takes requests, and answers them late."""
        self.alt.thaw()
        if not self.alt.running:
            self.network.refuse()
            self.alt.start()
            self.network.heal()


@contextmanager
def world(directory: Path, seed: int) -> Iterator[World]:
    """Everything but the node runs. Afterwards nothing is left but what is in ``directory``."""
    with ExitStack() as stack:
        alt = stack.enter_context(EmbeddedS3(directory / "alt"))
        for bucket in ALT_BUCKETS:
            alt.make_bucket(bucket)
        http = stack.enter_context(S3Relay("127.0.0.1", alt.ports["s3"]))
        network = stack.enter_context(Network("127.0.0.1", http.port))
        small = stack.enter_context(volume(directory / "volume", VOLUME_MEGABYTES, VOLUME_INODES))
        config = tortured(directory, small, alt.section(endpoint=network.endpoint))
        write_rules(directory / "rules.toml", random.Random(seed))
        node = Node(directory, config, stack.enter_context(Nursery(ENVIRONMENT)))
        stack.callback(node.clean_up)
        ledger = Ledger(directory / "ledger.jsonl")
        stack.callback(ledger.close)
        found = World(directory, alt, http, network, small, node, ledger, BucketMap(BUCKETS))
        stack.callback(found.nobody_beside)
        yield found


def tortured(directory: Path, small: Volume, alt: AltSection) -> Config:
    """Short times, so that a round of seconds sees what an outage of hours would; a disk that runs full by itself."""
    base = config_for(
        directory,
        replace(
            alt, connect_timeout=Duration(1), request_timeout=Duration(8), max_retries=1, retry_timeout=Duration(1)
        ),
        bucket=BUCKETS,
        queue=QueueSection(backoff=Duration(0.2), max_backoff=Duration(1)),
        write=WriteSection(alt_patience=Duration(1)),
        disk=DiskSection(max_bytes=Size(72 * 2**20), min_free=Share(bytes=4 * 2**20)),
        stubs=StubsSection(max_bytes=Size(8 * 2**20)),
        purge=PurgeSection(rules=str(directory / "rules.toml"), watch=Duration(0.5)),
        node=NodeSection(data_dir=str(small.data), shutdown_grace=Duration(10)),
    )  # fmt: skip
    return replace(
        base,
        admin=replace(base.admin, address=f"127.0.0.1:{_free_port()}", metrics="open"),
        listen=replace(base.listen, address=f"127.0.0.1:{_free_port()}"),
    )


def write_rules(path: Path, chance: random.Random) -> None:
    """Other rules than before, that purge much and soon."""
    text = RULES.format(
        number=chance.randrange(10**6), size=chance.choice(("0", "4KiB", "100KiB")), idle=chance.choice((0, 1, 5)),
        order=chance.choice(ORDERS),
    )  # fmt: skip
    path.write_text(text)


def _free_port() -> int:
    """The node is killed and started again: clients and commands find it where it was. None that the kernel gives to
    connections: one of these would have it while the node is down."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        with socket.socket() as listener, suppress(OSError):
            port = random.SystemRandom().randrange(1024, first)
            listener.bind(("127.0.0.1", port))
            return port
