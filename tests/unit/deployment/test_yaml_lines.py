from pathlib import Path

import pytest

from sluice.deployment.yaml_lines import Document, read_document
from sluice.errors import ConfigError


def read(tmp_path: Path, text: str, **variables: str) -> Document:
    file = tmp_path / "local.yaml"
    file.write_text(text)
    return read_document(file, variables)


def test_each_yaml_value_has_its_line(tmp_path):
    document = read(tmp_path, "flink:\n  url: http://x\njobs:\n  a:\n    config:\n      window: 60s\n")
    assert document.place(("jobs", "a", "config", "window")).endswith("local.yaml:6")
    assert document.place(("jobs", "a", "config", "missing")).endswith("local.yaml:5")
    assert document.place(()).endswith("local.yaml:1")


def test_environment_variables_in_yaml_are_typed_as_if_written(tmp_path):
    document = read(tmp_path, "a: ${PORT:-9092}\nb: http://x:${PORT:-1}\nc: '${PORT}'\n", PORT="7")
    assert document.values == {"a": 7, "b": "http://x:7", "c": "7"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", "local.yaml:2: duplicate key 'a'"),
        ("a: [1\n", "local.yaml:2: not YAML"),
        ("- a\n", "expected a mapping at the top, got list"),
        ("a: 1\nb: !foo bar\n", "local.yaml:2: 'bar' can't be read: could not determine a constructor"),
        ("a: 1\nb: 2026-13-45\n", "local.yaml:2: '2026-13-45' can't be read: month must be in 1..12"),
        ("a:\n  b: ${SECRET}\n", "local.yaml:2: the environment variable SECRET is not set"),
    ],
)
def test_invalid_yaml_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)


def test_deployment_file_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "local.yaml").write_bytes("a: \xe4\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="local.yaml: not UTF-8: .* at byte 3; save it as UTF-8"):
        read_document(tmp_path / "local.yaml", {})


def test_variable_with_yaml_syntax_stays_text(tmp_path):
    assert read(tmp_path, "a: ${TOKEN}\n", TOKEN="[x: 'y").values == {"a": "[x: 'y"}


def test_missing_deployment_file_error_has_the_next_step(tmp_path):
    with pytest.raises(ConfigError, match="choose another --environment"):
        read_document(tmp_path / "none.yaml")
