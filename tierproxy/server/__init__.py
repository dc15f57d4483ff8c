"""The uvicorn server around the object port: listeners, TLS, connections, graceful stop."""

from __future__ import annotations

from tierproxy.server.object_server import ObjectServer

__all__ = ["ObjectServer"]
