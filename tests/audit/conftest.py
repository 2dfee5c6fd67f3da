"""The same Kafka and Flink as the integration tests have."""

from tests.integration.conftest import lab, local

__all__ = ["lab", "local"]
