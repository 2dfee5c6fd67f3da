"""Where the client that submits without Python is found, and the command that starts it."""

import os
import zipfile

import pytest

from sluice.client import submitter

CLASS = "sluice/client/Submitter.class"


def write_jar(file, *names):
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "")


@pytest.fixture
def environment(tmp_path):
    """A Python environment with PyFlink and Sluice's jar, and Java."""
    home = tmp_path / "env" / "lib" / "python3.11" / "site-packages" / "pyflink"
    write_jar(home / "lib" / "flink-dist-2.3.0.jar")
    write_jar(home / "lib" / "flink-table-planner-loader-2.3.0.jar")
    write_jar(home / "lib" / "flink-sql-connector-kafka-5.0.0-2.2.jar")
    write_jar(home / "lib" / "flink-strict-json-0.1.0.jar", CLASS)
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.touch()
    return tmp_path / "env"


def find(environment, lib=None, **variables):
    java = str(environment.parent / "java")
    return submitter.find(environment / "bin" / "python", lib, {"JAVA_HOME": java, **variables})


def names(found):
    return [jar.name for jar in found.jars]


def test_submitter_has_flinks_jars_without_the_planner(environment):
    found = find(environment)
    others = ["flink-sql-connector-kafka-5.0.0-2.2.jar", "flink-strict-json-0.1.0.jar"]
    assert names(found) == ["flink-dist-2.3.0.jar", *others]
    home = environment / "lib" / "python3.11" / "site-packages" / "pyflink"
    assert found.variables == {"FLINK_CONF_DIR": str(home / "conf"), "FLINK_PLUGINS_DIR": str(home / "plugins")}


def test_directories_of_the_environments_variables_win(environment, tmp_path):
    write_jar(tmp_path / "given" / "flink-dist-2.3.1.jar")
    write_jar(tmp_path / "given" / "flink-strict-json-0.1.0.jar", CLASS)
    found = find(environment, FLINK_LIB_DIR=str(tmp_path / "given"), FLINK_PLUGINS_DIR="/s3")
    assert names(found) == ["flink-dist-2.3.1.jar", "flink-strict-json-0.1.0.jar"]
    assert found.variables["FLINK_PLUGINS_DIR"] == "/s3"
    assert names(find(environment, tmp_path / "given")) == names(found)


@pytest.mark.parametrize("lacking", ["class", "jar", "distribution", "java", "pyflink"])
def test_interpreters_own_client_submits_where_something_is_missing(environment, lacking):
    lib = environment / "lib" / "python3.11" / "site-packages" / "pyflink" / "lib"
    jar = lib / "flink-strict-json-0.1.0.jar"
    match lacking:
        case "class":
            write_jar(jar, "sluice/client/Gateway.class")
            os.utime(jar, (1, 1))
        case "jar":
            jar.unlink()
        case "distribution":
            (lib / "flink-dist-2.3.0.jar").unlink()
        case "java":
            (environment.parent / "java" / "bin" / "java").unlink()
        case "pyflink":
            lib.parent.rename(lib.parent.with_name("other"))
    assert find(environment) is None


@pytest.mark.parametrize(
    "variables",
    [
        {"HADOOP_CLASSPATH": "/hadoop"},
        {"HADOOP_CONF_DIR": "/conf"},
        {"FLINK_HOME": "/flink"},
        {"FLINK_ENV_JAVA_OPTS": "-Djavax.net.ssl.trustStore=/store"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_interpreters_own_client_submits_if_it_has_classes_or_options_of_its_own(environment, variables):
    assert find(environment, **variables) is None
    assert find(environment, **dict.fromkeys(variables, "")) is not None


def test_command_maps_the_archive_of_its_jars(environment, tmp_path):
    found, cache = find(environment), tmp_path / "cache"
    without = found.command("-Xmx1g -Da=b", cache)
    assert without[1:6] == [
        "-XX:+DisplayVMOutputToStderr",
        "-Xlog:disable",
        "-Xlog:all=warning:stderr",
        "-Xmx1g",
        "-Da=b",
    ]
    assert without[-3:-1] == ["-cp", ":".join(map(str, found.jars))]
    own = found.class_path(cache)
    own.directory.mkdir(parents=True)
    archive = own.directory / "classes-7.jsa"
    archive.write_bytes(b"archive")
    assert f"-XX:SharedArchiveFile={archive}" in found.command("", cache)
    # Java 17 crashes on an archive that was cut.
    archive.write_bytes(b"cut")
    assert found.command("-Xmx1g -Da=b", cache) == without
