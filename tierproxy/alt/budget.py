"""How often alt is asked a second time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

RESERVE = 10.0  #: second tries that are to be had at once, and the most that is saved up
MOST = 2000  #: buckets that are kept; clients may make some


class RetryBudget:
    """A bucket of tokens for each of the buckets: a first try earns ``share`` of a token, a second one costs one. When
    alt fails for everybody, second tries add that share to its load instead of doubling or trebling it, which is how a
    server that is slow is kept down by those who wait for it.

    As the retry budgets of Finagle (twitter.github.io/finagle, "Retry Budget": a share of the requests beside a small
    constant), gRPC's retry throttling (proposal A6: ``maxTokens`` 10, ``tokenRatio`` 0.1) and the retry quota of the
    AWS SDKs' "standard" mode (SDKs and Tools Reference Guide, "Retry behavior").

    ``steady``: nothing is wrong with alt for this bucket; else nothing is tried again. ``made``, ``withheld``: second
    tries by bucket.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens: dict[str, float] = {}
        self.steady: Callable[[str], bool] = lambda bucket: True
        self.made: Counter[str] = Counter()
        self.withheld: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<RetryBudget {', '.join(f'{bucket}: {left:.1f}' for bucket, left in self._tokens.items()) or 'whole'}>"

    def first(self, bucket: str) -> None:
        """loop. Something is tried. Only what is not saved up yet is remembered."""
        left = self._tokens.get(bucket)
        if left is None:
            return
        if left + self._share < RESERVE:
            self._tokens[bucket] = left + self._share
        else:
            del self._tokens[bucket]

    def second(self, bucket: str) -> bool:
        """loop. It failed: whether it may be tried again. True costs a token."""
        left = self._tokens.get(bucket, RESERVE)
        allowed = self._share > 0 and left >= 1 and self.steady(bucket)
        (self.made if allowed else self.withheld)[bucket] += 1
        if allowed:
            if len(self._tokens) >= MOST:
                self._tokens.clear()
            self._tokens[bucket] = left - 1
        return allowed
