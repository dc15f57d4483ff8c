"""What was read, written, deleted and purged over time: a journal, Parquet segments, and tools around them."""
