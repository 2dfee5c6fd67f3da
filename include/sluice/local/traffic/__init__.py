"""Web-analytics traffic by the contract of `analytics_events`, and an independent computation of the jobs' output."""
