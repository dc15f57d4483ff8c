"""Which keys obstore can name.

obstore's paths (``object_store::path::Path``) drop a slash at either end ("dir/" becomes "dir"), and refuse empty
segments, "." and ".." segments and control characters. All else reaches S3 unchanged, percent signs and every other
Unicode character included (found by sending each and looking at the request). What it cannot name goes through boto3,
which sends every key as it is, dot segments too: no key ever stands for another one.
"""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")  # the last two cannot be in obstore's XML of a delete
_MERGED = re.compile(r"//|\\|^/|(?:^|/)\.\.?(?:/|$)")


def is_plain(key: str) -> bool:
    """Whether obstore sends ``key`` (alt's, with prefix) to exactly itself."""
    if _CONTROL.search(key):
        return False
    return all(segment not in {"", ".", ".."} for segment in key.split("/"))


def may_be_merged(key: str) -> bool:
    """Whether some S3 servers take ``key`` for another one: SeaweedFS stores "a//b" and "a\\\\b" as "a/b"."""
    return _MERGED.search(key) is not None
