"""The differences between two releases, and their effect on state."""

import zipfile

from sluice.client.protocol import Graph, Operator, OperatorState, State, Vertex
from sluice.plan.changes import compare_code, compare_values
from sluice.state.compatibility import compare, is_positions_alone


def values(**other):
    return {
        "parallelism": 1,
        "state_version": 1,
        "config": {"window": "PT1M", "types": ["a"]},
        "reads": {},
        "writes": {},
        "options": {"execution.checkpointing.interval": "10 s"},
        **other,
    }


def test_equal_values_give_no_change():
    assert compare_values(values(), values(), {}) == []


def test_change_of_a_setting_that_determines_state_is_state_breaking():
    [change] = compare_values(values(), values(config={"window": "PT2M", "types": ["a"]}), {"window": "open windows"})
    assert (change.path, change.old, change.new) == ("config.window", "PT1M", "PT2M")
    assert change.category == "state_breaking"
    assert "open windows" in change.why


def test_change_of_any_other_setting_is_metadata():
    [change] = compare_values(values(), values(config={"window": "PT1M", "types": ["b"]}), {"window": "x"})
    assert change.category == "metadata"


def test_parallelism_flink_options_and_state_version_have_their_own_categories():
    changed = values(parallelism=2, state_version=2, options={"a.b": "c"})
    found = {change.path: change.category for change in compare_values(values(), changed, {})}
    assert found == {
        "parallelism": "stateless",
        "state_version": "state_breaking",
        "options.a.b": "stateless",
        "options.execution.checkpointing.interval": "stateless",
    }


def test_code_is_compared_file_by_file(tmp_path):
    def artifact(name, **files):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for entry, content in files.items():
                archive.writestr(entry, content)
        return tmp_path / name

    old, new = artifact("old", a="1\n", b="1\n2\n"), artifact("new", a="1\n", b="1\n", c="")
    assert [(c.path, c.old, c.new) for c in compare_code(old, new)] == [
        ("code.b", "2 lines", "1 lines"),
        ("code.c", None, "0 lines"),
    ]


def graph(*operators):
    vertex = Vertex(
        id="v",
        name="v",
        parallelism=1,
        max_parallelism=-1,
        operators=tuple(Operator(id=id_, uid=None, name=name) for id_, name in operators),
    )
    return Graph(vertices=(vertex,), slots=1, columns={}, digest="d")


def held(*operators):
    return State(
        checkpoint_id=1,
        operators=tuple(
            OperatorState(id=id_, name=name, parallelism=1, max_parallelism=128, size=10) for id_, name in operators
        ),
        positions={},
    )


def test_state_is_matched_to_operators_by_id():
    change = compare(held(("s", "Source: x"), ("w", "Window")), graph(("s", "Source: x"), ("n", "Window")))
    assert [operator.name for operator in change.kept] == ["Source: x"]
    assert [operator.id for operator in change.dropped] == ["w"]
    assert [operator.id for operator in change.added] == ["n"]


def test_no_operators_are_listed_as_added_if_all_state_is_kept():
    assert compare(held(("s", "Source: x")), graph(("s", "Source: x"), ("c", "Calc"))).added == ()


def test_offsets_and_open_transactions_are_not_counted_as_the_jobs_state():
    sources = held(("s", "Source: x"), ("w", "y: Writer"), ("c", "y: Committer"))
    compiled = graph(("s", "Source: x"), ("w", "y: Writer"), ("c", "y: Committer"), ("a", "Window"))
    assert is_positions_alone(compare(sources, compiled))
    assert not is_positions_alone(compare(held(("a", "Window")), compiled))


def test_reading_another_topic_is_state_breaking():
    old, new = ({"reads": {"events": {"topic": name}}} for name in ("a", "b"))
    (change,) = compare_values(old, new, {})
    assert (change.path, change.category) == ("reads.events.topic", "state_breaking")
