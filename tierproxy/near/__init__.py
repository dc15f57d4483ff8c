"""Objects on the local disk, read without asking the node (``tierproxy.ports.Near``).

``versions``: the shared memory by which readers know what has changed. ``store``: reads in a process that has the table
for good (the node, hit workers). ``beside``: reads in one that outlives the node (mounts).
"""
