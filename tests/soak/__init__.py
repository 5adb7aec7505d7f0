"""Randomly composed programs: `python -m tests.soak --help`."""
