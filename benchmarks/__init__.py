"""Benchmarks: each prints its table and writes results/<name>.json."""
