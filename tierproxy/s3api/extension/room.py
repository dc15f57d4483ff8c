"""GetRoom: how large the disk tier is and how full, for statfs."""

from __future__ import annotations

from tierproxy.s3api.call import Answer, Call, Port
from tierproxy.s3api.extension.children import json_answer


async def get_room(port: Port, call: Call) -> Answer:
    """``GET /?tierproxy-room``."""
    return json_answer(port.store.room()._asdict())
