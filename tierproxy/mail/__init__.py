"""What a mail object says of itself: its owner and folder."""
