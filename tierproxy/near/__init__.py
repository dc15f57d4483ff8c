"""Objects on the local disk, read without asking the node (``tierproxy.ports.Near``)."""
