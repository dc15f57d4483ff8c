"""The disk tier: blob files that are whole or not there.

A body is *staged* (in memory up to 1 MiB, then in ``staging/``), *sealed* (trailer written, file fsynced), *published*
(renamed below ``blobs/``, directory fsynced) or *discarded*. What holds at every instant, power cuts included:

- a name below ``blobs/`` was sealed before it was there, and never changes; readers need no lock and no second look;
- when ``publish`` has returned the blob survives; when ``remove`` has returned it is gone for good;
- what is in ``staging/`` belongs to nobody after a restart;
- no byte of a blob is returned that was not compared with a digest written with it.

Modules: ``fsio`` (every change of a file), ``layout`` (paths and names), ``lock`` (one owner), ``trailer`` (the file
format), ``digest`` (hashing what passes), ``descriptor`` (closing exactly once), ``commits`` (fsyncs shared by many),
``staged`` (writing), ``reading``, ``blobs`` (the port).
"""
