"""The file system that Dovecot keeps its mail in: a process of its own, a client of a node.

What it promises is ``docs/mount.md``; what it asks of the node beyond S3 is ``docs/mount-extension.md``; states,
order of events and crashes are ``docs/decisions/0021-the-mount.md``.
"""
