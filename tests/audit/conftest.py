"""The same Kafka and Flink as the integration tests have."""

from tests.integration.conftest import lab, local, shared_client

__all__ = ["lab", "local", "shared_client"]
