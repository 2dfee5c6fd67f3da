"""The commands of Airflow's services in docker-compose.yml."""

from airflow.cli.cli_parser import get_parser

from tests.unit.test_compose import airflow_services, compose, services, text  # noqa: F401 - fixtures


def test_airflow_commands_in_the_compose_file_exist(services):  # noqa: F811 - the fixture
    commands = {name: service["command"] for name, service in airflow_services(services).items()}
    assert {words[0] for words in commands.values()} == {
        *("db", "api-server", "scheduler", "dag-processor", "triggerer", "python")
    }
    checks = [
        service["healthcheck"]["test"][1].replace('"$${HOSTNAME}"', "here").split()[1:]
        for service in airflow_services(services).values()
        if service.get("healthcheck", {}).get("test", [""])[0] == "CMD-SHELL"
    ]
    assert len(checks) == 2
    for words in [words for words in commands.values() if words[0] != "python"] + checks:
        # An unknown command ends the process.
        get_parser().parse_args(words)
