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
    "damage in the database file": "SELECT quick_check FROM pragma_quick_check(10) WHERE quick_check <> 'ok'",
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
