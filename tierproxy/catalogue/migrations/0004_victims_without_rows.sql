-- The walk of LRU passes over what rules keep or have not purged yet: thousands of entries for a page, whose rows lie in
-- no order of the last reads. With all that decides them in the index it reads neighbours and no row (docs/benchmarks.md,
-- growth). It takes 92 bytes an entry more, and nothing more is written when reads are booked: they move the entry in
-- here anyway. What is long or changes alone is not in it: a rule that asks for the owner, metadata or machines' reads
-- makes the walk look at the rows. `state` and `blob` are in the condition, and SQLite wants them here too.
DROP INDEX entry_victim;
CREATE INDEX entry_victim ON entry (
    coalesce(last_read_at, stored_at), bucket, key, generation, state, size, written_at, blob, blob_bytes, stored_at,
    last_read_at, previous_read_at, reads, folder, pinned_until, visits, main, queued_at
) WHERE state = 'clean' AND blob IS NOT NULL;
