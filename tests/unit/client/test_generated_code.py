"""Generated code compares equal if it differs in the order of IN literals only."""

import pytest

from sluice.client.generated_code import normalise_generated_code

CODE = b"\n".join(
    [
        b"final Set set$31 = new ObjectHashSet(4);",
        b"private void buildSet$32() {",
        b"set$31.add(((org.apache.flink.table.data.binary.BinaryStringData) %s));",
        b"set$31.add(((org.apache.flink.table.data.binary.BinaryStringData) %s));",
        b"set$40.add(%s);",
        b"} /* and on */",
    ]
)


def test_generated_code_with_reordered_in_literals_is_equal():
    assert normalise_generated_code(CODE % (b"str$27", b"str$28", b"1")) == normalise_generated_code(
        CODE % (b"str$28", b"str$27", b"1")
    )


@pytest.mark.parametrize(
    "other", [(b"str$27", b"str$29", b"1"), (b"str$27", b"str$28", b"2"), (b"1", b"str$27", b"str$28")]
)
def test_generated_code_with_other_literals_differs(other):
    assert normalise_generated_code(CODE % (b"str$27", b"str$28", b"1")) != normalise_generated_code(CODE % other)


def test_normalising_generated_code_keeps_all_other_code():
    code = CODE % (b"str$27", b"str$28", b"1")
    assert normalise_generated_code(code) == code
    assert normalise_generated_code(b"nothing of the kind\n\0\xff") == b"nothing of the kind\n\0\xff"
