"""Two texts that do the same compare equal, others don't."""

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


def test_the_order_of_literals_does_not_count():
    assert normalise_generated_code(CODE % (b"str$27", b"str$28", b"1")) == normalise_generated_code(
        CODE % (b"str$28", b"str$27", b"1")
    )


@pytest.mark.parametrize(
    "other", [(b"str$27", b"str$29", b"1"), (b"str$27", b"str$28", b"2"), (b"1", b"str$27", b"str$28")]
)
def test_other_literals_are_other_code(other):
    assert normalise_generated_code(CODE % (b"str$27", b"str$28", b"1")) != normalise_generated_code(CODE % other)


def test_everything_else_stays_in_place():
    code = CODE % (b"str$27", b"str$28", b"1")
    assert normalise_generated_code(code) == code
    assert normalise_generated_code(b"nothing of the kind\n\0\xff") == b"nothing of the kind\n\0\xff"
