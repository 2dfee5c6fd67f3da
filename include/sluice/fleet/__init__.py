"""The fleet: every job of an environment, looked at in one sweep, and what each of them needs."""
