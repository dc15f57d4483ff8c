"""x-amz-request-id: what a client and an operator call one request by."""

from __future__ import annotations

import secrets
from itertools import count


class RequestIds:
    """Unique as long as no two begin alike: eight random digits, then a number."""

    def __init__(self) -> None:
        self.prefix = secrets.token_hex(4).upper()
        self._numbers = count(1)

    def __next__(self) -> str:
        return f"{self.prefix}{next(self._numbers):08X}"
