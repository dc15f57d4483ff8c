"""What-if: recorded traffic replayed through other rules, other policies, another disk. Pure: no I/O, no clock."""
