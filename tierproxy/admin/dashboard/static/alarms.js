/** What to do about each alarm: the short form of the table in docs/operations.md. A test holds the two together. */

/** @type {Record<string, string>} */
export const WHAT_TO_DO = {
  "upload overdue": "Repair S3 or its credentials, then hurry the queue. Do not touch the disk.",
  "only copy damaged": "Look at the disk (dmesg, SMART). Restore the object from a backup, or delete it.",
  "lost in alt": "Look for lifecycle rules or other writers on the bucket. Restore the version, or delete the object through the proxy.",
  "alt changed by somebody else": "Find the other writer, or set exclusive = false for the bucket.",
  "alt does not take changes": "Repair S3 or the network. The queue tries by itself.",
  "alt does not answer reads": "Repair S3 or the network. What is on disk is served; the rest is asked for again by itself.",
  "disk is down": "Look at the disk (dmesg, SMART). Mail comes from S3 meanwhile; the disk is used again by itself when it is well.",
  "alt bucket error": "Change the bucket's rules or permissions as said here, then restart.",
  "alt bucket warning": "Change the bucket's rules or permissions as said here, then restart.",
  "kept objects purged under pressure": "Raise the budget, or let the rules keep less.",
  "purge waits for a confirmation": "Look at the purge preview, then confirm the run or cancel it.",
  "rules not usable": "Correct the rule file; it is picked up by itself. The old rules stay in force.",
  "rule over its regret budget": "Make the rule narrower, or its times longer.",
  "catalogue has no room": "Free space on the file system of the data directory. Nothing new is kept on it until then.",
  "disk budget cannot be met": "Repair S3, loosen the rules, or raise the disk budget if the file system has room.",
  "history is not being written": "Make room on the disk. Mail is not affected; what-if has a gap until then.",
  "files do not belong to the catalogue": "Stop. Put the right catalogue back, or run tierproxy catalogue rebuild.",
  "hit worker keeps ending": "Read the log of the node. Mail is not affected; set [listen] workers = 0 until it is mended.",
  "files newer than the catalogue": "Stop, then tierproxy check --alt --repair; or put the right catalogue back.",
};

/** Alarms that mean mail may be in danger; the others want attention. */
export const GRAVE = new Set(["upload overdue", "only copy damaged", "lost in alt", "files do not belong to the catalogue",
  "files newer than the catalogue", "alt bucket error", "disk is down"]);
