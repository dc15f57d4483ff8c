"""``tierproxy serve`` as a unit of Type=notify: systemd hears when clients are served, and that it stops."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.clients.proxy import clean_environment

CONFIG = """
[node]
data_dir = "data"
shutdown_grace = "1s"
[listen]
address = "127.0.0.1:0"
auth = "none"
[alt]
endpoint = "http://127.0.0.1:1"
access_key_id = "nobody"
secret_access_key = "nothing-at-all"
check_at_start = false
connect_timeout = "0.1s"
max_retries = 0
retry_timeout = "0s"
[admin]
enabled = false
[[bucket]]
name = "mail"
"""


def test_serve_says_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    (tmp_path / "tierproxy.toml").write_text(CONFIG)
    environment = {**clean_environment(), "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(environment["NOTIFY_SOCKET"])
        heard.settimeout(30)
        command = [sys.executable, "-m", "tierproxy", "serve", "--config", "tierproxy.toml"]
        node = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
        try:
            assert heard.recv(4096).splitlines()[0] == b"READY=1"
            os.kill(node.pid, signal.SIGTERM)
            assert heard.recv(4096) == b"STOPPING=1"
            assert node.wait(60) == 0
        finally:
            node.kill()
            node.wait()
