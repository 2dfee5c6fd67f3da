"""The fleet page's content: read from the ledger and the project's files, never from Flink or the brokers."""
