"""The fleet: all jobs of an environment, observed in one sweep, and what each of them needs."""
