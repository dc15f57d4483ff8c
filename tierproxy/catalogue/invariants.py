"""What must be true of every catalogue at every commit. `tierproxy check` and the tests ask."""

from __future__ import annotations

from tierproxy.catalogue.database import Reads

SUMS = """SELECT bucket, count(*) FILTER (WHERE state <> 'deleting'),
        coalesce(sum(size) FILTER (WHERE state <> 'deleting'), 0), count(blob), coalesce(sum(blob_bytes), 0),
        count(*) FILTER (WHERE state = 'dirty'), coalesce(sum(size) FILTER (WHERE state = 'dirty'), 0)
    FROM entry"""

# Each finds the rows that break a rule; the columns name them.
RULES = {
    "dirty entry without a put of its generation": """
        SELECT bucket, key, generation FROM entry e WHERE state <> 'clean' AND state = 'dirty' AND NOT EXISTS (
            SELECT 1 FROM job j WHERE j.bucket = e.bucket AND j.key = e.key
                AND j.generation = e.generation AND j.kind = 'put')""",
    "tombstone without a delete of its generation": """
        SELECT bucket, key, generation FROM entry e WHERE state <> 'clean' AND state = 'deleting' AND NOT EXISTS (
            SELECT 1 FROM job j WHERE j.bucket = e.bucket AND j.key = e.key
                AND j.generation = e.generation AND j.kind = 'delete')""",
    "job without the entry it is for": """
        SELECT bucket, key, generation, kind FROM job j WHERE NOT EXISTS (
            SELECT 1 FROM entry e WHERE e.bucket = j.bucket AND e.key = j.key AND e.generation = j.generation
                AND e.state = CASE j.kind WHEN 'put' THEN 'dirty' ELSE 'deleting' END)""",
    "dirty entry without a blob": """
        SELECT bucket, key FROM entry WHERE state <> 'clean' AND state = 'dirty' AND blob IS NULL""",
    "tombstone with a blob": """
        SELECT bucket, key FROM entry WHERE state <> 'clean' AND state = 'deleting' AND blob IS NOT NULL""",
    "blob bytes without a blob": "SELECT bucket, key, blob_bytes FROM entry WHERE blob IS NULL AND blob_bytes <> 0",
    "blob without its digest": "SELECT bucket, key, blob FROM entry WHERE blob IS NOT NULL AND xxh3 IS NULL",
    "blob without the time it was stored": """
        SELECT bucket, key, blob FROM entry WHERE blob IS NOT NULL AND stored_at IS NULL""",
    "generation above the ceiling": """
        SELECT bucket, key, generation FROM entry
        WHERE generation > (SELECT value FROM fact WHERE name = 'generation_ceiling')""",
    "part without an upload": "SELECT upload, number FROM part WHERE upload NOT IN (SELECT id FROM upload)",
    "totals that do not add up": f"""
        WITH truth AS ({SUMS} GROUP BY bucket UNION ALL {SUMS.replace("bucket,", "'',", 1)}),
            kept AS (SELECT * FROM total WHERE bucket = '' OR (objects, blobs, dirty) <> (0, 0, 0)
                OR bucket IN (SELECT bucket FROM entry))
        SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM truth) UNION ALL
        SELECT * FROM (SELECT * FROM truth EXCEPT SELECT * FROM kept)""",
    "queue totals that do not add up": """
        SELECT * FROM queue WHERE (jobs, bytes, failing) <> (
            SELECT count(*), coalesce(sum(size), 0), count(*) FILTER (WHERE attempts > 0) FROM job)""",
    "blob without its place in the queue, or the other way round": """
        SELECT bucket, key FROM entry WHERE (blob IS NULL) <> (queued_at IS NULL)""",
    "visits without a blob": """
        SELECT bucket, key, visits FROM entry
        WHERE visits NOT BETWEEN 0 AND 3 OR (blob IS NULL AND (visits, main) <> (0, 0))""",
    "read counts below nothing": """
        SELECT bucket, key, reads, machine_reads FROM entry WHERE reads < 0 OR machine_reads < 0""",
    "last read before the read before it": """
        SELECT bucket, key FROM entry WHERE previous_read_at IS NOT NULL
            AND (last_read_at IS NULL OR last_read_at < previous_read_at)""",
    "pin of a tombstone": """
        SELECT bucket, key FROM entry WHERE state <> 'clean' AND state = 'deleting' AND pinned_until IS NOT NULL""",
    "day bin without its entry": """
        SELECT bucket, key, day FROM read_day d WHERE reads < 0 OR machine_reads < 0 OR NOT EXISTS (
            SELECT 1 FROM entry e WHERE e.bucket = d.bucket AND e.key = d.key)""",
    "more reads in day bins than altogether": """
        SELECT bucket, key FROM read_day d GROUP BY bucket, key HAVING (SELECT sum(d.reads) > e.reads
            OR sum(d.machine_reads) > e.machine_reads FROM entry e WHERE e.bucket = d.bucket AND e.key = d.key)""",
    "minute or hour that begins in between": "SELECT span, at FROM rollup WHERE span NOT IN (60, 3600) OR at % span",
    "shadow without an entry, or when there is none": """
        SELECT bucket, key FROM shadow s WHERE NOT (SELECT value FROM fact WHERE name = 'shadow') OR NOT EXISTS (
            SELECT 1 FROM entry e WHERE e.bucket = s.bucket AND e.key = s.key AND e.state <> 'deleting')""",
    "shadow blob without its times": """
        SELECT bucket, key FROM shadow
        WHERE coalesce(stored_at, purged_at) IS NULL OR (purged_at IS NULL) <> (purged_by IS NULL)""",
    "purge run whose reasons do not add up": """
        SELECT number FROM purge_run r WHERE (objects, bytes) <> (
            SELECT coalesce(sum(objects), 0), coalesce(sum(bytes), 0) FROM purge_run_rule WHERE run = r.number)""",
    "purge run that went backwards": """
        SELECT number FROM purge_run WHERE skipped < 0 OR objects < 0 OR (cursor_bucket IS NULL) <> (cursor_key IS NULL)
        UNION ALL SELECT run FROM purge_run_rule WHERE run NOT IN (SELECT number FROM purge_run)""",
    "damage in the database file": "SELECT quick_check FROM pragma_quick_check WHERE quick_check <> 'ok' LIMIT 10",
}
SHOWN = 5


def violations(reads: Reads) -> list[str]:
    """One line for each broken rule, with the first few rows that break it. Reads all: it can take minutes."""
    found = []
    for rule, sql in RULES.items():
        rows = reads.rows(sql)
        if rows:
            more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
            found.append(f"{rule}: {', '.join(map(str, rows[:SHOWN]))}{more}")
    return found
