"""What leaves the disk tier, and when: a pure plan, and the run that carries it out."""
