"""FUSE without libfuse: the kernel's protocol (``include/uapi/linux/fuse.h``), spoken on /dev/fuse by an event loop.

A file system is a class with the methods of ``tierproxy.fuse.operations.Operations``; ``serve`` answers the kernel with
it until it is unmounted. Linux only. Knows nothing of mail, objects or nodes.
"""
