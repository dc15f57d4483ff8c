"""Numbers for people: the desk's words."""

from tierproxy.desk.words import LAST, ago, bar, bytes_text, count_text, for_json, moment, numbers, share_text

__all__ = ["LAST", "ago", "bar", "bytes_text", "count_text", "for_json", "moment", "numbers", "share_text"]
