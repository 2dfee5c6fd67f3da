"""What the fleet page shows: read from the ledger and the project's files, never from the cluster or the brokers."""
