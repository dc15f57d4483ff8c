"""What an operator asks, and what they are told: documents made from the catalogue. The command line reads the data
directory itself, the admin API asks for the same in a thread."""
