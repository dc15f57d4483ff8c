"""The disk tier: blob files that are whole or not there.

A body is *staged* (in memory up to 1 MiB, then in ``staging/``), then *kept*, by one thread job (trailer written,
renamed below ``blobs/``, file and directory fsynced), or *discarded*. In two steps it is *sealed* (trailer written,
file fsynced) and *published* (renamed, directory fsynced). What holds at every instant, power cuts included:

- a name below ``blobs/`` is that of a whole blob, which never changes: readers need no lock and no second look. Only a
  power cut may leave half of one that was being kept; nobody was told of it, and it has no sound trailer;
- when ``publish`` has returned, or what was kept is durable, the blob survives; when ``remove`` has returned it is
  gone for good;
- what is in ``staging/`` belongs to nobody after a restart;
- no byte of a blob is returned that was not compared with a digest written with it.

Modules: ``fsio`` (every change of a file), ``layout`` (paths and names), ``lock`` (one owner), ``trailer`` (the file
format), ``digest`` (hashing what passes), ``descriptor`` (closing exactly once), ``commits`` (fsyncs shared by many),
``staged`` and ``staged_file`` (writing), ``kept`` (what is on its way), ``reading``, ``blobs`` (the port), ``probe``
(is the disk well?), ``guarded`` (the port while it is not).
"""
