"""The hit lane: GET and HEAD of what is near, answered before a request is anything but its bytes."""
