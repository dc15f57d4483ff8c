"""The heart: two tiers as one store. Sees ports only.

Theory of operation
===================

An object is a row of the catalogue. The row is the commit: whatever files lie about and whatever alt holds, an object
has the content its row says, and an object without a row is asked for in alt, unless the bucket is exclusive and
complete.
Blob files have unique names and never change, so a reader holds a descriptor and needs no lock.

States of a row, and what moves it (the durable ones; "uploading" is a fact of the running queue, not of the row)::

                 write, ack both or alt
    (no row) ---------------------------------> CLEAN <------------------------+
        |                                        |  ^                          |
        | write, ack disk, or                    |  | settled: alt was asked   | uploaded
        | ack both while alt is down             |  |                          |
        +---------------------> DIRTY            |  +------ SUSPECT            |
                                  |              |             ^               |
                                  |              +-------------+               |
                                  |          an overwrite straight to alt      |
                                  +--------------------------------------------+

    any state -- delete --> DELETING (tombstone) -- alt has confirmed --> (no row)
    any state -- a newer write --> CLEAN or DIRTY with the new content, in one transaction

Invariants:

1. DIRTY and DELETING rows have exactly one job in the journal, CLEAN and SUSPECT rows none. They change together.
2. Alt is changed for a name by the upload queue while the row has a job, and by the holder of the name's order
   (``order.KeyOrder``) while it has none. Never by both; so alt sees changes in the order they were acknowledged.
3. DIRTY rows have a blob, and nothing but their upload makes them CLEAN. A purge touches CLEAN rows only.
4. A row names a blob only when the blob's file and directory entry are fsynced. A file is unlinked only after the
commit
   that ended its use. A crash in between leaves a file no row names: the scrub removes it.
5. A generation is used once. Every UPDATE and DELETE that rests on an earlier look repeats the generation; whoever
comes
   too late gets StaleGeneration and throws his work away (a fill, an upload, a purge).
6. A SUSPECT row is believed only by the process that is in the middle of the overwrite; after a crash, or when alt's
   answer was lost, nobody believes it before alt was asked (``lookup.Lookup.settled``). What alt says counts for that
   time only as long as the overwrite may still be on its way (``[alt] request_timeout``): the row stays SUSPECT. So
   long nothing else is sent to alt for names of which anything, of this node or a killed one, may be on its way
   (``late``).
7. used bytes = blob_bytes of all rows + bytes of all parts; reserved bytes = 0 when nothing is being written.
8. No reader gets the last byte of a body before length and checksum of all of it are known to be right.

Order of events
===============

Write, ack both (``writer``): receive into a staged file while hashing; verify; under the name's order: precondition,
[CLEAN overwrite: commit SUSPECT], at the same time {PutObject} and {trailer, rename, fsync, fsync directory}; commit
CLEAN; memory and flights forget the name, memory takes the new content; answer; unlink the replaced blob. Alt says no:
commit DIRTY with a job instead (``queue``), or remove the file and take SUSPECT back (``refuse``).

Write, ack disk: as above without alt; commit DIRTY with a job. The commit follows the last fsync without a turn of the
loop in between (decision 30). Ack alt (``around``): no file; commit CLEAN without a
blob.

Delete (``deleter``): commit the tombstone; memory, flights and the file forget it; DeleteObject; commit "no row".

Read (``reader``): memory, blob, flight, pass. A flight (``flight``) is one GET for everybody who asks meanwhile; it
belongs
to the node. If the object changes, the flight is detached: who is on board began before the change, nobody joins later.

Upload (``upload``, ``jobs``): PutObject from the blob, or DeleteObject; then the commit that ends the job.

A disk that fails or hangs (``disk_health``, decision 32): nobody waits for a call longer than the patience; while it is
down nothing is written to it or removed from it, and before it is trusted again ``look_through`` compares rows and
files.

Start (``recover``): staged files go; the journal is the queue; SUSPECT rows are settled beside the first requests,
those of which alt holds the old content when nothing the last process has asked of alt can be on its way any more.

Where may it crash? Between any two of these steps, and ``tests/store/test_crash.py`` stops at each of them.
"""
