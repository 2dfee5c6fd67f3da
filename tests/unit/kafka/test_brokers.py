import pytest

from sluice.errors import ConfigError
from sluice.kafka.brokers import connect, java_properties


def test_plain_brokers_need_nothing_else():
    assert java_properties({"bootstrap.servers": "a:1", "client.id": "x"}) == {"bootstrap.servers": "a:1"}


def test_passwords_become_a_login_module():
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


def test_what_java_does_not_know_is_refused():
    with pytest.raises(ConfigError, match="enable.ssl.certificate.verification has no known counterpart"):
        java_properties({"bootstrap.servers": "a:1", "enable.ssl.certificate.verification": "false"})


def test_an_unknown_mechanism_is_refused():
    with pytest.raises(ConfigError, match="expected one of PLAIN"):
        java_properties({"sasl.mechanism": "X", "sasl.username": "a", "sasl.password": "b"})


@pytest.mark.parametrize(
    "name", ["sasl.jaas.config", "ssl.truststore.location", "sasl.login.callback.handler.class", "sasl.client.x"]
)
def test_a_setting_as_java_spells_it_is_the_jobs_alone(name):
    config = {"bootstrap.servers": "a:1", name: "x"}
    assert java_properties(config) == config
    connect(config)  # librdkafka would refuse the name


def test_a_login_of_one_s_own_stands_for_a_mechanism_that_has_none_here():
    config = {"sasl.mechanism": "X", "sasl.username": "a", "sasl.password": "b", "sasl.jaas.config": "mine"}
    assert java_properties(config) == {"sasl.mechanism": "X", "sasl.jaas.config": "mine"}


def test_no_brokers_and_a_wrong_setting_are_refused():
    with pytest.raises(ConfigError, match="no brokers are configured"):
        connect({})
    with pytest.raises(ConfigError, match="Kafka configuration is refused"):
        connect({"bootstrap.servers": "a:1", "no.such": "x"})
