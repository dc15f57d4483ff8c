"""Hashes of passwords and tokens, as they stand in a configuration: ``scrypt$15$8$1$SALT$HASH``, ``sha256$HEX``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

from tierproxy.errors import ConfigError

LOG_COST, BLOCK, LANES = 15, 8, 1
"""Parameters of new hashes (RFC 7914: log2 of N, r, p): 32 MiB and about a tenth of a second for each try."""
LENGTH = 32  #: bytes of a hash
MOST_MEMORY = 256 * 2**20  #: a configuration that asks for more would make every login an attack on the node


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """scrypt (RFC 7914) with its parameters."""

    log_cost: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str, salt: bytes) -> PasswordHash:
        """Blocking, slow on purpose. ``salt``: 16 random bytes."""
        return cls(LOG_COST, BLOCK, LANES, salt, _scrypt(password, LOG_COST, BLOCK, LANES, salt, LENGTH))

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Raises ConfigError."""
        found = re.fullmatch(r"scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([^$]+)\$([^$]+)", text)
        if found is None:
            raise ConfigError("is not a hash: make one with `tierproxy admin password`")
        log_cost, block, lanes = (int(number) for number in found.group(1, 2, 3))
        if not (10 <= log_cost <= 20 and block >= 1 and lanes >= 1 and memory(log_cost, block, lanes) <= MOST_MEMORY):
            raise ConfigError("has parameters that are too weak, or take more than 256 MiB: make a new one")
        salt, digest = _bytes(found[4]), _bytes(found[5])
        if len(salt) < 8 or len(digest) < 16:
            raise ConfigError("is cut short: make a new one with `tierproxy admin password`")
        return cls(log_cost, block, lanes, salt, digest)

    def __str__(self) -> str:
        parts = (self.log_cost, self.block, self.lanes, _text(self.salt), _text(self.digest))
        return "scrypt$" + "$".join(map(str, parts))

    def fits(self, password: str) -> bool:
        """Blocking, slow on purpose; takes the same time whatever the answer is."""
        tried = _scrypt(password, self.log_cost, self.block, self.lanes, self.salt, len(self.digest))
        return hmac.compare_digest(tried, self.digest)


def memory(log_cost: int, block: int, lanes: int) -> int:
    """Bytes a try takes."""
    return 128 * block * ((1 << log_cost) + lanes)


def _scrypt(password: str, log_cost: int, block: int, lanes: int, salt: bytes, length: int) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=2**log_cost, r=block, p=lanes, dklen=length,
        maxmem=memory(log_cost, block, lanes) + 2**20,
    )  # fmt: skip


def token_hash(token: str) -> str:
    """Tokens are random and long: a plain hash of one tells nothing about it."""
    return "sha256$" + hashlib.sha256(token.encode()).hexdigest()


def is_token_hash(text: str) -> bool:
    return re.fullmatch(r"sha256\$[0-9a-f]{64}", text) is not None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise ConfigError("is not a hash: make one with `tierproxy admin password`") from error
