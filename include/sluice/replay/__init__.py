"""Replays: run a range of a job's history again, in chunks, and compare the rows with the live ones."""
