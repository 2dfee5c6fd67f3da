"""Releases: the code of a job as an artifact, its jars, and the fingerprint of what decides how it runs."""
