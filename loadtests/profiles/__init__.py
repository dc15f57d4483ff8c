"""Where the time of a request goes: instructions of the hit lane, and profiles of a node under load."""
