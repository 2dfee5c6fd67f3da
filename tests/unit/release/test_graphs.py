"""Compiled graphs are stored encrypted, and used only if they are intact and complete."""

import base64
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography.fernet import Fernet

from sluice.client.protocol import Graph, Ready
from sluice.errors import ConfigError
from sluice.release.graphs import Compiled, GraphStore
from sluice.settings import Settings

SOURCE = {"fingerprint": "f", "config": {"password": "planted"}, "carry_over": False}
COMPILED = Compiled(
    ready=Ready(graph=Graph(vertices=(), slots=1, columns={}, digest="d"), content="cGxhbnRlZA=="), generated_code=2
)


@pytest.fixture
def logged():
    return []


def store(root, logged, **settings):
    return GraphStore(Settings(root=root, home=root / "home", **settings), logged.append)


def files(root):
    return list((root / "home" / "artifacts" / "graphs").glob("*.graph"))


def test_stored_graph_is_found_by_what_it_was_compiled_from(tmp_path, logged):
    assert store(tmp_path, logged).find(SOURCE) is None
    store(tmp_path, logged).add(SOURCE, COMPILED)
    assert store(tmp_path, logged).find(SOURCE) == COMPILED
    for name, value in (("fingerprint", "g"), ("carry_over", True), ("config", {"password": "another"})):
        assert store(tmp_path, logged).find({**SOURCE, name: value}) is None
    assert logged == []


def test_file_of_a_graph_reveals_no_secret_and_is_private(tmp_path, logged):
    store(tmp_path, logged).add(SOURCE, COMPILED)
    [file] = files(tmp_path)
    assert b"planted" not in file.read_bytes()
    assert b"cGxhbnRlZA" not in file.read_bytes()
    # Its name is a digest with the key: with another key the same values have another one.
    store(tmp_path, logged, graph_keys=Fernet.generate_key().decode()).add(SOURCE, COMPILED)
    assert len({file.name for file in files(tmp_path)}) == 2
    assert file.parent.stat().st_mode & 0o077 == 0
    assert (tmp_path / "home" / "graphs.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"x" + content, lambda _content: b""])
def test_damaged_graph_is_reported_and_not_used(tmp_path, logged, damage):
    store(tmp_path, logged).add(SOURCE, COMPILED)
    [file] = files(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    assert store(tmp_path, logged).find(SOURCE) is None
    assert "can't be used (InvalidToken): the release is compiled again" in logged[0]


def test_graph_of_a_former_key_is_encrypted_with_the_new_one_when_it_is_used(tmp_path, logged):
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    store(tmp_path, logged, graph_keys=old).add(SOURCE, COMPILED)
    assert store(tmp_path, logged, graph_keys=new).find(SOURCE) is None
    assert store(tmp_path, logged, graph_keys=f"{new}, {old}").find(SOURCE) == COMPILED
    assert store(tmp_path, logged, graph_keys=new).find(SOURCE) == COMPILED
    assert len(files(tmp_path)) == 1
    assert store(tmp_path, logged, graph_keys=old).find(SOURCE) is None


def test_graph_that_was_copied_to_another_name_is_not_used(tmp_path, logged):
    store(tmp_path, logged).add(SOURCE, COMPILED)
    [first] = files(tmp_path)
    other = {**SOURCE, "fingerprint": "g"}
    store(tmp_path, logged).add(other, COMPILED)
    [second] = [file for file in files(tmp_path) if file != first]
    second.write_bytes(first.read_bytes())
    assert store(tmp_path, logged).find(other) is None
    assert "can't be used (it belongs to another release)" in logged[0]


def test_threads_that_need_the_first_key_at_the_same_time_get_the_same_one(tmp_path, logged):
    for number in range(50):
        settings = Settings(root=tmp_path, home=tmp_path / str(number))
        with ThreadPoolExecutor(4) as pool:
            keys = {store._keys[0] for store in pool.map(GraphStore, [settings] * 4, [logged.append] * 4)}
        assert keys == {base64.urlsafe_b64decode((settings.home / "graphs.key").read_text())}
        assert [file.name for file in settings.home.iterdir()] == ["graphs.key"]


def test_damaged_key_of_this_machine_is_refused_with_its_file(tmp_path, logged):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "graphs.key").touch()
    with pytest.raises(ConfigError, match="the key of the compiled graphs is damaged: .*graphs.key"):
        store(tmp_path, logged)


def test_graph_is_not_used_if_a_file_that_it_uploads_is_missing(tmp_path, logged):
    code = tmp_path / "code.zip"
    code.touch()
    ready = COMPILED.ready.model_copy(update={"files": (str(code),)})
    store(tmp_path, logged).add(SOURCE, COMPILED.model_copy(update={"ready": ready}))
    assert store(tmp_path, logged).find(SOURCE) is not None
    code.unlink()
    assert store(tmp_path, logged).find(SOURCE) is None


def test_invalid_key_is_refused_without_being_shown(tmp_path, logged):
    with pytest.raises(ConfigError, match="SLUICE_GRAPH_KEYS: expected one or more Fernet keys") as refused:
        store(tmp_path, logged, graph_keys="planted")
    assert "planted" not in f"{refused.value} {refused.value.remedy}"


def test_graph_that_was_not_used_for_half_a_year_is_deleted(tmp_path, logged):
    store(tmp_path, logged).add(SOURCE, COMPILED)
    [file] = files(tmp_path)
    long_ago = time.time() - 181 * 24 * 3600
    os.utime(file, (long_ago, long_ago))
    # A graph that is used is kept.
    assert store(tmp_path, logged).find(SOURCE) is not None
    store(tmp_path, logged).add({**SOURCE, "fingerprint": "g"}, COMPILED)
    assert len(files(tmp_path)) == 2
    os.utime(file, (long_ago, long_ago))
    store(tmp_path, logged).add({**SOURCE, "fingerprint": "g"}, COMPILED)
    assert len(files(tmp_path)) == 1


def test_store_that_can_not_be_written_is_reported(tmp_path, logged):
    (tmp_path / "home" / "artifacts").mkdir(parents=True)
    (tmp_path / "home" / "artifacts" / "graphs").touch()
    store(tmp_path, logged).add(SOURCE, COMPILED)
    assert "the compiled graph can't be stored in" in logged[0]
