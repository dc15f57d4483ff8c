"""What a host needs for Dovecot on a mount: files, directories, users. A plan, which the command line carries
out."""

from __future__ import annotations

from tierproxy.dovecot.installation.lacking import lacking
from tierproxy.dovecot.installation.plan import Command, Directory, File, Plan, Secret, Step, planned
from tierproxy.dovecot.installation.wish import Wish

__all__ = ["Command", "Directory", "File", "Plan", "Secret", "Step", "Wish", "lacking", "planned"]
