"""Topics and offsets on the brokers."""
