"""systemd's units: the node, the mount, and what Dovecot waits for.

Sources: systemd.unit(5), systemd.exec(5), systemd.service(5). The mount must not get a mount namespace of its own, or
nobody else would see what it mounts: so its unit has none of the Protect... and Private... options that make one.
"""

from __future__ import annotations

import shlex

from tierproxy.dovecot.installation.texts import marked
from tierproxy.dovecot.installation.wish import REGION, Wish
from tierproxy.dovecot.settings import Layout

SCRATCH = "tierproxy-mount"  #: below /var/lib: what Dovecot is writing just now
SECRET = "mount.secret"  # noqa: S105 -- the name of a systemd credential

_NARROW = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
"""
"""Of both: nothing here makes a mount namespace."""


def node_unit(wish: Wish) -> str:
    """tierproxy.service."""
    return marked(f"""\
[Unit]
Description=tierproxy: S3 objects with a local disk tier
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
User={wish.node_user}
StateDirectory=tierproxy
StateDirectoryMode=0700
# the unix socket; only root and the node's group come in
RuntimeDirectory=tierproxy
RuntimeDirectoryMode=0750
ExecStart={wish.program} serve --config {wish.config}
ExecReload=kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
# wrong usage and a wrong configuration are not tried again
RestartPreventExitStatus=2 3
# longer than [node] shutdown_grace
TimeoutStopSec=30
LimitNOFILE=65536
UMask=0077

CapabilityBoundingSet=
{_NARROW}PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectSystem=strict
RestrictNamespaces=yes
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
""")


def mount_unit(wish: Wish) -> str:
    """tierproxy-mount.service. It outlives the node: while that is away, opens fail and nothing is lost."""
    return marked(f"""\
[Unit]
Description=tierproxy mount: mail in S3 as files below {wish.paths.mail}
After=tierproxy.service
Wants=tierproxy.service

[Service]
# ready when it is mounted
Type=notify
# as root, for mount(2) and for all users' processes
LoadCredential={SECRET}:{wish.secret}
StateDirectory={SCRATCH}
StateDirectoryMode=0700
ExecStart={shlex.join(mount_command(wish))}
# after a crash: a mount without a process stops everybody who touches it
ExecStopPost=-umount --lazy --quiet -- {wish.paths.mail}
Restart=always
RestartSec=1
RestartPreventExitStatus=2 3
TimeoutStopSec=30
LimitNOFILE=65536
OOMScoreAdjust=-500
UMask=0077

# CAP_DAC_OVERRIDE: the node's socket and files are another user's, and stay so by CAP_CHOWN
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_DAC_OVERRIDE CAP_CHOWN
{_NARROW}RestrictNamespaces=yes
SystemCallFilter=@system-service @mount

[Install]
WantedBy=multi-user.target
""")


def mount_command(wish: Wish) -> list[str]:
    """What the mount's unit starts."""
    return [
        wish.program, "mount", f"unix:{wish.socket}/{wish.bucket}", wish.paths.mail,
        "--access-key-id", wish.access_key_id,
        "--secret-file", f"%d/{SECRET}",
        "--uid", str(wish.uid if wish.uid is not None else wish.user),
        "--gid", str(wish.gid if wish.gid is not None else wish.user),
        "--scratch", f"/var/lib/{SCRATCH}",
        "--data-dir", wish.data,
        *(["--region", wish.region] if wish.region != REGION else []),
    ]  # fmt: skip


def dovecot_unit(wish: Wish) -> str:
    """dovecot.service.d/tierproxy.conf."""
    if wish.layout is Layout.ALT:
        need = "# without the mount, new mail is still taken and read\nWants=tierproxy-mount.service"
        local = wish.paths.home
    else:
        need = "# without the mount there is no mail: better no Dovecot than one that says so to each client"
        need += "\nRequires=tierproxy-mount.service"
        local = f"{wish.paths.index} {wish.paths.control}"
    return marked(f"""\
[Unit]
After=tierproxy-mount.service
{need}
RequiresMountsFor={wish.paths.mail} {local}
""")
