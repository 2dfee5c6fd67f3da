"""Plans: what an operation would do to a job, and why. Planning only reads."""
