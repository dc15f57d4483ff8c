"""Plain policies: what a disk would do that knows no rules."""

from __future__ import annotations

from tierproxy.whatif.policies.fifo import Fifo
from tierproxy.whatif.policies.gdsf import Gdsf
from tierproxy.whatif.policies.lfu import Lfu
from tierproxy.whatif.policies.lru import Lru
from tierproxy.whatif.policies.policy import Policy
from tierproxy.whatif.policies.s3_fifo import S3Fifo
from tierproxy.whatif.policies.sieve import Sieve
from tierproxy.whatif.policies.w_tinylfu import WTinyLfu

POLICIES: dict[str, type[Policy]] = {policy.name: policy for policy in (Lru, Fifo, Lfu, Sieve, S3Fifo, Gdsf, WTinyLfu)}

__all__ = ["POLICIES", "Policy"]
