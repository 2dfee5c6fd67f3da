import pytest

from sluice.errors import ConfigError
from sluice.kafka.brokers import connect, java_properties


def test_java_properties_of_brokers_without_security():
    assert java_properties({"bootstrap.servers": "a:1", "client.id": "x"}) == {"bootstrap.servers": "a:1"}


def test_java_properties_have_a_login_module_for_passwords():
    java = java_properties(
        {
            "bootstrap.servers": "a:1",
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "me",
            "sasl.password": 'a"b',
            "ssl.ca.location": "/etc/ca.pem",
        }
    )
    assert java["sasl.jaas.config"] == (
        "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule "
        'required username="me" password="a\\"b";'
    )
    assert (java["ssl.truststore.location"], java["ssl.truststore.type"]) == ("/etc/ca.pem", "PEM")


def test_setting_without_java_counterpart_is_refused():
    with pytest.raises(
        ConfigError, match="enable.ssl.certificate.verification can't be translated to a setting of the Java client"
    ):
        java_properties({"bootstrap.servers": "a:1", "enable.ssl.certificate.verification": "false"})


def test_unknown_sasl_mechanism_is_refused():
    with pytest.raises(ConfigError, match="expected one of PLAIN"):
        java_properties({"sasl.mechanism": "X", "sasl.username": "a", "sasl.password": "b"})


@pytest.mark.parametrize(
    "name", ["sasl.jaas.config", "ssl.truststore.location", "sasl.login.callback.handler.class", "sasl.client.x"]
)
def test_java_spelled_setting_is_for_the_jobs_only(name):
    config = {"bootstrap.servers": "a:1", name: "x"}
    assert java_properties(config) == config
    connect(config)  # librdkafka would reject the setting


def test_own_jaas_config_allows_any_sasl_mechanism():
    config = {"sasl.mechanism": "X", "sasl.username": "a", "sasl.password": "b", "sasl.jaas.config": "mine"}
    assert java_properties(config) == {"sasl.mechanism": "X", "sasl.jaas.config": "mine"}


def test_missing_brokers_and_invalid_settings_are_refused():
    with pytest.raises(ConfigError, match="no brokers are configured"):
        connect({})
    with pytest.raises(ConfigError, match="Kafka configuration is invalid"):
        connect({"bootstrap.servers": "a:1", "no.such": "x"})
