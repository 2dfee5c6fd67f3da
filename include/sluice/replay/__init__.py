"""Replays: a range of a job's history run again, in chunks, and held against what is live."""
