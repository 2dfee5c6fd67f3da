"""docker-compose.yml and the Dockerfile, checked without a Docker engine."""

import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from sluice.deployment.catalog import read_catalog
from sluice.deployment.file import read_deployment_file
from sluice.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::([-?])([^}]*))?\}")
KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "ports", "profiles", "restart",
    "security_opt", "user", "volumes", "x-no-healthcheck",
}  # fmt: skip


@pytest.fixture(scope="module")
def text() -> str:
    return (ROOT / "docker-compose.yml").read_text()


@pytest.fixture(scope="module")
def compose(text: str) -> dict[str, Any]:
    """The file with the defaults of its variables; a required variable becomes its name in angle brackets."""

    def value(match: re.Match[str]) -> str:
        return match[3] if match[2] == "-" else f"<{match[1]}>"

    return yaml.safe_load(VARIABLE.sub(value, text))


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return compose["services"]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: name and arguments."""
    joined = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def stages(instructions: list[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, words in instructions:
        if name == "FROM":
            found[words.split(" AS ")[1]] = []
        if found:
            list(found.values())[-1].append((name, words))
    return found


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def airflow_services(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if service["image"].startswith("sluice-airflow")}


def test_docker_compose_accepts_the_file(text):
    if not shutil.which("docker") or run("docker", "compose", "version").returncode:
        pytest.skip("no docker compose")
    variables = {name: "x" for name, kind, _ in VARIABLE.findall(text) if kind == "?"}
    done = run("docker", "compose", "--profile", "*", "config", "--quiet", **variables)
    assert done.returncode == 0, done.stderr


def test_compose_file_has_only_keys_that_tests_check(compose, services):
    assert {key for key in compose if not key.startswith("x-")} == {"name", "services", "volumes"}
    assert {key for service in services.values() for key in service} <= KEYS


def test_every_service_has_a_health_check_or_a_reason(services):
    for name, service in services.items():
        assert ("healthcheck" in service) != ("x-no-healthcheck" in service), name
        if "healthcheck" in service:
            check = service["healthcheck"]
            assert set(check) == {"test", "interval", "timeout", "retries", "start_period"}, name
            assert check["test"][0] in ("CMD", "CMD-SHELL"), name


def test_services_wait_only_for_services_with_a_health_check(services):
    for name, service in services.items():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other}"
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert services[other]["restart"].startswith("on-failure"), f"{other} would never complete"


def test_ports_are_published_on_loopback_only(services):
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert [re.sub(r":\d+$", "", port) for port in ports] == ["127.0.0.1:9092", "127.0.0.1:8081", "127.0.0.1:8080"]


def test_no_service_runs_as_root_or_can_become_root(services, stages):
    for name, service in services.items():
        assert service["user"].split(":")[0] not in ("root", "0"), name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["cap_drop"] == ["ALL"], name
    for target in ("flink", "airflow"):
        assert [words for name, words in stages[target] if name == "USER"][-1] == target


def test_compose_file_contains_no_secrets(text, services):
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD$|SECRET|FERNET", name):
                assert re.fullmatch(r"<\w+>", str(value)), f"{name} has a value of its own"
            for word in str(value).split():
                password = urlsplit(word).password if "://" in word and "@" in word else None
                assert password is None or re.fullmatch(r"<\w+>", password), f"{name} has a password of its own"
    required = {name for name, kind, _ in VARIABLE.findall(text) if kind == "?"}
    optional = {name: default for name, kind, default in VARIABLE.findall(text) if kind == "-"}
    assert len(required) + len(optional) == len({name for name, _, _ in VARIABLE.findall(text)})
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == required
    assert dict(re.findall(r"^# (\w+)=(.+)$", example, re.MULTILINE)) == optional
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def make_secrets(file: Path) -> dict[str, str]:
    done = run(str(ROOT / "scripts/make-secrets"), str(file))
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.M))


def test_make_secrets_generates_a_secret_for_every_name(tmp_path):
    first, second = (make_secrets(tmp_path / name) for name in ("first", "second"))
    assert first.keys() == second.keys() == set(re.findall(r"^(\w+)=$", (ROOT / ".env.example").read_text(), re.M))
    values = [*first.values(), *second.values()]
    assert len(set(values)) == len(values)
    fernet = first.pop("AIRFLOW_FERNET_KEY")
    importlib.import_module("cryptography.fernet").Fernet(fernet)
    # They are used in URLs without encoding.
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in first.values())


def test_make_secrets_writes_a_file_readable_by_its_owner_only(tmp_path):
    umask = os.umask(0)
    try:
        make_secrets(tmp_path / "secrets")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secrets"]


def test_make_secrets_keeps_secrets_that_exist(tmp_path):
    """In a separate checkout: without an argument, the file is the .env beside the example."""
    (tmp_path / "scripts").mkdir()
    script = shutil.copy2(ROOT / "scripts/make-secrets", tmp_path / "scripts")
    shutil.copy2(ROOT / ".env.example", tmp_path)
    assert run(script).returncode == 0
    before = (tmp_path / ".env").read_bytes()
    assert b"AIRFLOW_FERNET_KEY=" in before

    again = run(script)

    assert again.returncode == 1
    assert again.stdout == ""
    assert "exists and was not changed" in again.stderr
    assert (tmp_path / ".env").read_bytes() == before


def test_make_secrets_refuses_an_empty_file_that_a_redirection_made(tmp_path):
    file = tmp_path / "secrets"
    file.touch()
    done = run(str(ROOT / "scripts/make-secrets"), str(file))
    assert done.returncode == 1
    assert "without redirecting its output" in done.stderr
    assert file.read_bytes() == b""


def test_sluice_commands_in_the_compose_file_exist(services):
    """Each with `--help` appended, which makes a command exit after parsing the arguments before it."""
    words = [service["command"] for service in services.values() if service.get("command", [""])[0] == "python"]
    assert [command[1:4] for command in words] == [["-m", "sluice.local", "traffic"]]
    for command in words:
        done = run(sys.executable, *command[1:], "--help")
        assert done.returncode == 0, done.stderr
        assert command[4] in done.stdout


def test_volumes_are_declared_and_mounted_files_exist(compose, services):
    used = set()
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
                assert volume.endswith(":ro"), f"{name} may write {source}"
            else:
                used.add(source)
    assert used == set(compose["volumes"])
    assert os.access(ROOT / "scripts/make-databases.sh", os.X_OK)


def test_flink_rest_api_refuses_requests_of_other_web_pages(services):
    options = yaml.safe_load(services["flink-jobmanager"]["environment"]["FLINK_PROPERTIES"])
    assert options["web.access-control-allow-origin"] == "http://127.0.0.1:8081"
    assert options["web.submit.enable"] is False
    # The deployment file has the host name that is used in the containers.
    content, _ = read_deployment_file(ROOT / "deployments" / "docker.yaml", read_catalog(ROOT).jobs)
    hosts = {"127.0.0.1", "localhost", urlsplit(content.flink.url).hostname}
    assert set(options["sluice.rest.hosts"].split(";")) == hosts


def test_only_the_cluster_can_write_its_state(services):
    writers = {name for name, service in services.items() if "flink-state:/var/lib/flink" in service.get("volumes", [])}
    assert writers == {"flink-jobmanager", "flink-taskmanager"}
    properties = services["flink-jobmanager"]["environment"]["FLINK_PROPERTIES"]
    # The image's entrypoint removes spaces and splits at the first colon.
    options = dict(line.replace(" ", "").split(":", 1) for line in properties.splitlines())
    assert options["execution.checkpointing.dir"] == "file:///var/lib/flink/checkpoints"
    assert options["execution.checkpointing.savepoint-dir"] == "file:///var/lib/flink/savepoints"
    assert all(" " not in line.split(": ", 1)[1] for line in properties.splitlines())


def test_compose_versions_are_those_of_the_project(instructions, services):
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    pom = dict(re.findall(r"<([\w.]+\.version)>([^<]+)<", (ROOT / "pom.xml").read_text()))
    uv = re.search(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert uv is not None
    assert version is not None
    given = dict(words.split("=") for name, words in instructions if name == "ARG")
    assert given == {
        "AIRFLOW_VERSION": pinned["apache-airflow"],
        "FLINK_VERSION": pinned["apache-flink"],
        "UV_VERSION": uv[1],
    }
    assert pom["flink.version"] == given["FLINK_VERSION"]
    assert {service["image"] for service in services.values()} == {
        "postgres:17",
        f"apache/kafka:{pom['kafka.version']}",
        f"sluice-flink:{version[1]}",
        f"sluice-airflow:{version[1]}",
    }
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    bases = [words.split(" AS ")[0] for name, words in instructions if name == "FROM"]
    assert all(base.endswith(f"-python{python}") for base in bases if base.startswith("apache/airflow"))
    assert any(f"uv venv --python {python} " in words for _, words in instructions)


def test_files_that_the_images_copy_exist(instructions, stages, services):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for _, words in (entry for entry in instructions if entry[0] == "COPY"):
        options = [word for word in words.split() if word.startswith("--")]
        origin = next((word.removeprefix("--from=") for word in options if word.startswith("--from=")), None)
        if origin:
            assert origin in stages
            continue
        for source in [word for word in words.split() if word not in options][:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source.split('/')[0]}" in ignored, f"{source} does not come into the build"
    assert ignored[1] == "*", "all else stays out, secrets among it"
    for service in services.values():
        if "build" in service:
            assert service["build"]["target"] in stages


def test_image_has_what_deployment_file_and_settings_need(stages, services, monkeypatch):
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)
    variables = (
        dict(pair.split("=", 1) for name, words in stages["airflow"] if name == "ENV" for pair in words.split())
        | services["airflow-scheduler"]["environment"]
    )
    for name, value in variables.items():
        if name.startswith("SLUICE_"):
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.environment == "docker"
    assert str(settings.root) == "/opt/sluice"
    assert str(settings.artifacts) == "/var/lib/sluice/artifacts"
    assert str(settings.flink_lib) == "/opt/sluice/.sluice/flink/lib"
    assert settings.ledger.startswith("postgresql+psycopg://sluice:")


def test_docker_deployment_file_names_the_services(services):
    catalog = read_catalog(ROOT)
    content, _ = read_deployment_file(ROOT / "deployments" / "docker.yaml", catalog.jobs)
    brokers = content.kafka.config["bootstrap.servers"]
    assert brokers in services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    connection = json.loads(services["airflow-scheduler"]["environment"]["AIRFLOW_CONN_KAFKA_DEFAULT"])
    assert connection == {"conn_type": "kafka", "extra": {"bootstrap.servers": brokers}}
    assert urlsplit(content.flink.url).hostname in services
    assert set(content.jobs) == set(catalog.jobs)
