"""32 threads of puts, gets and deletes at once, and a node that is killed under them or within an upload."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from tests.clients.conftest import NUMBERS, proxy_at
from tests.clients.proxy import MIB, Behind, Proxy, sha256
from tierproxy.embedded import EmbeddedS3

pytestmark = pytest.mark.clients
THREADS, KEYS = 32, 6
GONE = None


@dataclass
class Worker:
    """One thread's own keys: what is there for certain, and, of the request that got no answer, what may be.
    ``risked``: every key such a request was about."""

    number: int
    chance: random.Random
    held: dict[str, str | None] = field(default_factory=dict)
    doubtful: dict[str, str | None] = field(default_factory=dict)
    risked: set[str] = field(default_factory=set)
    done: int = 0

    def key(self) -> str:
        return f"{self.number:02}/mail {self.chance.randrange(KEYS)}"

    def step(self, client: Any) -> None:
        """One put, get or delete, and the check of its answer."""
        key, what = self.key(), self.chance.random()
        if what < 0.5:
            content = self.chance.randbytes(self.chance.choice([10, 5_000, 70_000]))
            self.change(key, sha256(content), lambda: client.put_object(Bucket="mail", Key=key, Body=content))
        elif what < 0.65:
            self.change(key, GONE, lambda: client.delete_object(Bucket="mail", Key=key))
        else:
            self.check(client, key)
        self.done += 1

    def change(self, key: str, to: str | None, request: Any) -> None:
        self.doubtful = {key: to}
        request()
        self.doubtful, self.held[key] = {}, to

    def check(self, client: Any, key: str) -> None:
        found = digest(client, key)
        if key in self.doubtful and found == self.doubtful[key]:
            self.held[key] = found
        self.doubtful.pop(key, None)
        assert found == self.held.get(key), f"{key} is not what was acknowledged"


def digest(client: Any, key: str) -> str | None:
    try:
        return sha256(client.get_object(Bucket="mail", Key=key)["Body"].read())
    except client.exceptions.NoSuchKey:
        return GONE


def queue_every_third(request: Any, **_: Any) -> None:
    """Some are acknowledged from the disk alone, for the upload queue to be at work as well."""
    if int(request.url.split("/mail%20")[-1].partition("?")[0]) % 3 == 0:
        request.headers["x-tierproxy-ack"] = "disk"


class Crowd:
    """All workers, on one client."""

    def __init__(self) -> None:
        self.workers = [Worker(number, random.Random(f"crowd/{number}")) for number in range(THREADS)]

    def work(self, proxy: Proxy, steps: int) -> None:
        """Each worker does ``steps``; any failure is raised."""
        with closing(self._client(proxy)) as client, ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda worker: [worker.step(client) for _ in range(steps)], self.workers))

    def work_until_it_dies(self, proxy: Proxy, steps: int) -> None:
        """Work; after ``steps`` in all the node is killed, and every worker stops at its first error."""
        begun, enough = sum(worker.done for worker in self.workers), threading.Event()

        def run(worker: Worker) -> None:
            try:
                while True:
                    worker.step(client)
                    if sum(one.done for one in self.workers) - begun >= steps:
                        enough.set()
            except BotoCoreError:  # cut or not connected; an error answer would be a ClientError
                worker.risked |= worker.doubtful.keys()

        with closing(self._client(proxy)) as client, ThreadPoolExecutor(THREADS) as pool:
            runs = [pool.submit(run, worker) for worker in self.workers]
            assert enough.wait(60)
            proxy.kill()
            for one in runs:
                one.result(60)

    def find_everything(self, proxy: Proxy) -> None:
        """Every acknowledged object is there and every acknowledged delete is done; the listing says the same."""
        with closing(self._client(proxy)) as client, ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda worker: self._check_all(client, worker), self.workers))
            pages = client.get_paginator("list_objects_v2").paginate(Bucket="mail")
            listed = {row["Key"] for page in pages for row in page.get("Contents", [])}
        assert listed == self.held().keys()

    def held(self) -> dict[str, str]:
        return {key: found for worker in self.workers for key, found in worker.held.items() if found is not GONE}

    def risked(self) -> set[str]:
        """An unacknowledged put may have reached the server behind; clients of the node don't see it."""
        return {key for worker in self.workers for key in worker.risked}

    def _check_all(self, client: Any, worker: Worker) -> None:
        for number in range(KEYS):
            worker.check(client, f"{worker.number:02}/mail {number}")

    def _client(self, proxy: Proxy) -> Any:
        client = proxy.client(max_pool_connections=THREADS, read_timeout=60)
        client.meta.events.register("before-sign.s3.PutObject", queue_every_third)
        return client


@pytest.fixture
def own_proxy(directory: Path, alt: EmbeddedS3) -> Iterator[Proxy]:
    """One that nobody else uses: it gets killed."""
    proxy = proxy_at(directory, alt, f"killed-{next(NUMBERS)}")
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def test_a_crowd_sees_what_was_acknowledged_also_after_kills(own_proxy: Proxy) -> None:
    crowd = Crowd()
    crowd.work(own_proxy, 8)
    crowd.find_everything(own_proxy)
    for _ in range(2):
        crowd.work_until_it_dies(own_proxy, 300)
        own_proxy.start()
        crowd.find_everything(own_proxy)
    crowd.work(own_proxy, 4)
    own_proxy.wait_for_uploads()
    crowd.find_everything(own_proxy)
    with closing(own_proxy.direct()) as direct:
        behind, held = Behind(own_proxy, direct), crowd.held()
        assert {key: behind.sha256("mail", key) for key in held} == held
        assert behind.keys("mail") - held.keys() <= crowd.risked()
    assert own_proxy.stop() == 0
    left = json.loads(own_proxy.command("check", "--alt", "--repair", "--json").stdout)["findings"]
    assert left.keys() <= {"file without a row", "unknown in alt"}, left
    assert json.loads(own_proxy.command("check", "--json").stdout)["sound"]


def test_an_upload_in_parts_goes_on_after_a_kill(own_proxy: Proxy) -> None:
    pieces = [random.Random(number).randbytes(5 * MIB) for number in range(3)]
    name: dict[str, Any] = {"Bucket": "mail", "Key": "large"}
    with closing(own_proxy.client()) as client:
        upload = name | {"UploadId": client.create_multipart_upload(**name)["UploadId"]}
        for number in (1, 2):
            client.upload_part(**upload, PartNumber=number, Body=pieces[number - 1])
    own_proxy.kill()
    own_proxy.start()
    with closing(own_proxy.client()) as client:
        client.upload_part(**upload, PartNumber=3, Body=pieces[2])
        parts = client.list_parts(**upload)["Parts"]
        listed = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": listed})
        own_proxy.kill()
        own_proxy.start()
    with closing(own_proxy.client()) as client, closing(own_proxy.direct()) as direct:
        assert digest(client, "large") == sha256(b"".join(pieces)) == Behind(own_proxy, direct).sha256("mail", "large")
