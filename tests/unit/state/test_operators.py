"""Two operators are compared by Flink's descriptions of them."""

import pytest

from sluice.state.operators import Described, compare_operator

LOCAL = "LocalWindowAggregate(groupBy=[{keys}], select=[{keys}, MAX({of}) AS max$1, slice_end('w$) AS $slice_end])"
GLOBAL = "GlobalWindowAggregate(groupBy=[{keys}], window=[{size}], select=[{keys}, MAX(max$1) AS {top}, end('w$)])"
ROWS = ("(STRING, BIGINT)", "key (STRING)")


def release(calc="Calc(select=[user, shop, amount])", types=ROWS, **words):
    """The operators of a windowed aggregation: source, projection, local and global aggregate."""
    words = {"keys": "user, shop", "of": "amount", "size": "10 min", "top": "top"} | words
    chain = ["Source: orders", calc, LOCAL.format(**words), GLOBAL.format(**words)]
    return {
        str(number): Described(description=text, inputs=(str(number - 1),) if number else (), types=types)
        for number, text in enumerate(chain)
    }


def likeness(**words):
    return compare_operator("3", release(), release(**words)).likeness


def test_equal_descriptions_are_the_same_operator():
    assert likeness() == "same"


@pytest.mark.parametrize(
    "words",
    [
        {"keys": "shop, user"},
        {"of": "price"},
        {"size": "5 min"},
        {"types": ("(STRING, DOUBLE)", "key (STRING)")},
        {"calc": "Calc(select=[shop AS user, user AS shop, amount])"},
        {"calc": "Calc(select=[user, shop, (amount * 100) AS amount])"},
        {"calc": "Limit(fetch=[3])"},
    ],
)
def test_other_keys_arguments_windows_types_or_renamed_columns_alter_state(words):
    compared = compare_operator("3", release(), release(**words))
    assert compared.likeness == "altered"
    assert compared.old != compared.new


@pytest.mark.parametrize(
    "calc",
    [
        "Calc(select=[user, shop, amount], where=[(amount > 3)])",
        "Calc(select=[user, shop, amount, note], where=[(note = _UTF-16LE'it''s [')])",
    ],
)
def test_changed_filter_changes_the_input_but_not_the_meaning(calc):
    assert likeness(calc=calc) == "input changed"


def test_names_of_an_aggregates_results_are_ignored():
    assert likeness(top="best") == "same"


def test_filter_added_as_a_separate_node_changes_the_input():
    new = release()
    new["filter"] = Described(description="Calc(select=[user, shop], where=[a])", inputs=("1",), types=ROWS)
    new["2"] = new["2"].model_copy(update={"inputs": ("filter",)})
    assert compare_operator("3", release(), new).likeness == "input changed"


def test_renamed_datastream_source_or_function_changes_the_input():
    old = {"a": Described(description="Map"), "b": Described(description="KEYED PROCESS", inputs=("a",))}
    new = {**old, "a": Described(description="Map, Filter")}
    assert compare_operator("b", old, new).likeness == "input changed"


def test_operator_without_an_old_description_is_altered():
    compared = compare_operator("3", {}, release())
    assert (compared.likeness, compared.old) == ("altered", "not known")


def test_unknown_types_do_not_make_an_operator_altered():
    assert compare_operator("3", release(types=None), release()).likeness == "same"


def test_changed_number_of_inputs_alters_the_state():
    new = release()
    new["3"] = new["3"].model_copy(update={"inputs": ("2", "1")})
    assert compare_operator("3", release(), new).likeness == "altered"
