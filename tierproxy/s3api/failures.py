"""What the log says of requests that failed."""

from __future__ import annotations

import logging
from typing import Any

from tierproxy.errors import Busy, RequestError, TierproxyError
from tierproxy.logs import event
from tierproxy.s3api.faults import Fault

logger = logging.getLogger("tierproxy.s3api")


def log_failure(error: Exception, fault: Fault, **facts: Any) -> None:
    """What is tierproxy's own has a name and needs no traceback; anything else is a bug and gets one."""
    if fault.status < 500 or isinstance(error, (RequestError, Busy)):
        event(logger, logging.DEBUG, "request refused", code=fault.code, **facts, error=error)
    elif isinstance(error, TierproxyError):
        event(logger, logging.WARNING, "request failed", code=fault.code, **facts, error=error)
    else:
        logger.error("request failed unexpectedly", extra={"facts": {**facts, "error": error}}, exc_info=error)
