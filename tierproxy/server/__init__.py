"""The uvicorn servers around the object port and the admin port: listeners, TLS, connections, graceful stop."""

from __future__ import annotations

from tierproxy.server.admin_server import AdminServer
from tierproxy.server.object_server import ObjectServer

__all__ = ["AdminServer", "ObjectServer"]
