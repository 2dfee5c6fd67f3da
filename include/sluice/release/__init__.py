"""Releases: the code of a job as an artifact, what decides how it runs as a fingerprint, and the ledger of it all."""
