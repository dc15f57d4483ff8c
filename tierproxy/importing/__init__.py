"""Mail that is somewhere else becomes sdbox objects: maildir, sdbox and mbox sources.

Three steps, each of its own kind:

- A **source** (``maildir``, ``sdbox``, ``mbox``) reads a directory or a file and yields folders, each folder yields
  letters or what is bad about one (``letters``). Nothing is raised for a single mail: the others go on.
- **Packing** (``parcels``) makes of a letter the sdbox file that Dovecot would have written: the same letter gives the
  same bytes, always. Its MD5 is the ETag the object will have, and this is what makes a second run change nothing.
- **Transfer** (``transfer``) places parcels at UIDs (``uids``) below a directory of the owner (``places``), through the
  door ``Objects``, and checks what it has put.

Nothing here writes a file or opens a connection: the command brings both.
"""
