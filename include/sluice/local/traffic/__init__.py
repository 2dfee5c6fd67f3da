"""Web-analytics traffic to the contract of `analytics_events`, and an independent computation of the jobs' output."""
