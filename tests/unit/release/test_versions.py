"""The versions that are tested together are named alike everywhere."""

from pathlib import Path

from sluice.release.versions import FLINK, KAFKA_CONNECTOR

ROOT = Path(__file__).resolve().parents[3]


def test_maven_pip_and_the_product_agree():
    pom = (ROOT / "pom.xml").read_text()
    assert f"<flink.version>{FLINK}</flink.version>" in pom
    assert f"<kafka.connector.version>{KAFKA_CONNECTOR}</kafka.connector.version>" in pom
    assert f"apache-flink=={FLINK}\n" in (ROOT / "requirements.txt").read_text()
