"""Each plain policy beside libcachesim's of the same name: the same hits within 0.5 %, on Zipf reads and on mail with
its writes and deletes, for objects of one size and of different sizes."""

from __future__ import annotations

from itertools import compress
from typing import Any

import libcachesim
import pytest

from tests.whatif.generated import mail, only_reads, stored, zipf
from tierproxy.whatif.policies import POLICIES, Policy
from tierproxy.whatif.policies.w_tinylfu import WTinyLfu
from tierproxy.whatif.replay import replay
from tierproxy.whatif.requests import DELETE, READ, Requests

CLOSE = 0.005
BYTES_CLOSE = {"gdsf": 0.03}
"""Of bytes: where a few large objects just come in or just do not, by a rounding or a tie."""
SHARES = (0.01, 0.1)
ORACLES = {
    "lru": libcachesim.LRU,
    "fifo": libcachesim.FIFO,
    "lfu": libcachesim.LFU,
    "sieve": libcachesim.Sieve,
    "s3-fifo": libcachesim.S3FIFO,
    "gdsf": libcachesim.GDSF,
}
TRAFFIC = {
    "zipf 0.8": lambda sizes: zipf(40_000, 5000, 0.8, sizes=sizes),
    "zipf 1.1": lambda sizes: zipf(40_000, 5000, 1.1, sizes=sizes),
    "mail": lambda sizes: mail(sizes=sizes),
    "reads of mail": lambda sizes: only_reads(mail(sizes=sizes)),
}


def oracle(cache: Any, requests: Requests) -> tuple[float, float]:
    """Hit and byte-hit ratio of reads. A write is a get that does not count: no object is written twice."""
    request = libcachesim.Request()
    request.op = libcachesim.ReqOp.OP_GET
    hits = bytearray()
    for kind, number, size in zip(requests.kinds, requests.numbers, requests.sizes, strict=True):
        if kind == DELETE:
            cache.remove(number + 1)
            hits.append(0)
            continue
        request.obj_id, request.obj_size = number + 1, size
        hits.append(cache.get(request) and kind == READ)
    count, size = requests.reads()
    return sum(hits) / count, sum(compress(requests.sizes, hits)) / size


def ours(policy: Policy, requests: Requests) -> tuple[float, float]:
    tally = replay(policy, requests)
    return tally.hit_ratio, tally.byte_hit_ratio


@pytest.mark.parametrize("sizes", [False, True], ids=["one size", "sizes"])
@pytest.mark.parametrize("traffic", ["zipf 0.8", "zipf 1.1", "mail"])
@pytest.mark.parametrize("name", ORACLES)
def test_a_policy_hits_as_often_as_its_oracle(name: str, traffic: str, sizes: bool) -> None:
    requests = TRAFFIC[traffic](sizes)
    for share in SHARES:
        budget = int(stored(requests) * share)
        expected = oracle(ORACLES[name](cache_size=budget, hashpower=16), requests)
        found = ours(POLICIES[name](budget, requests.objects), requests)
        assert found[0] == pytest.approx(expected[0], abs=CLOSE), share
        assert found[1] == pytest.approx(expected[1], abs=BYTES_CLOSE.get(name, CLOSE)), share


@pytest.mark.parametrize("traffic", ["zipf 0.8", "zipf 1.1", "reads of mail"])
def test_w_tinylfu_hits_as_often_as_its_oracle(traffic: str) -> None:
    """With the oracle's parameters: a main cache of plain LRU, counts of misses, halved after 32 requests for each
    object that fits."""
    requests = TRAFFIC[traffic](False)
    for share in (0.05, 0.2):  # of a smaller disk a window of 1 % would be less than one object
        budget = int(stored(requests) * share)
        theirs = libcachesim.WTinyLFU(cache_size=budget, hashpower=16, main_cache="LRU", window_size=0.01)
        expected = oracle(theirs, requests)
        policy = WTinyLfu(budget, requests.objects, protected=0, sample=32 * budget, count_hits=False)
        assert ours(policy, requests) == pytest.approx(expected, abs=CLOSE), share
