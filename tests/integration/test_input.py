"""Gates and verdicts report input that is malformed, has wrong times, or makes the job fail."""

import json

from confluent_kafka import Producer

from sluice.local.traffic import wire
from tests.support.orders import HEAD, WINDOWS, Orders
from tests.support.running import deploy, operate
from tests.support.waiting import wait_for

FUNCTION = (
    HEAD.replace("{fields}", "user: str\n    place: str")
    + """
    from pyflink.table import DataTypes
    from pyflink.table.udf import udf

    @udf(result_type=DataTypes.STRING().not_null())
    def place(amount):
        import no_such_package
        return no_such_package.encode(amount)

    t_env.create_temporary_system_function("place", place)
    return t_env.sql_query("SELECT `user`, place(amount) AS place FROM orders")
"""
)
LONG_ROWS = (
    HEAD.replace("{fields}", "user: str\n    text: str")
    + """
    return t_env.sql_query("SELECT `user`, REPEAT('x', CAST(amount AS INT)) AS text FROM orders")
"""
)


def test_deploy_fails_when_every_waiting_record_is_malformed(lab):
    orders = Orders(lab, "malformed")
    orders.send(120, amount="1.0")
    result = operate(lab.project, orders.name)
    assert result.outcome == "failed"
    assert "orders: 120 of 120 records malformed; first reason wrong type: amount" in str(result.error)


def test_deploy_fails_when_every_waiting_record_is_too_late(lab):
    orders = Orders(lab, "old")
    orders.send(120, event_after=-7_200_000)
    result = operate(lab.project, orders.name)
    assert result.outcome == "failed"
    assert "120 of 120 records left out: event time more than watermark_delay before" in str(result.error)


def test_first_deploy_from_the_end_of_a_quiet_topic_is_healthy(lab):
    orders = Orders(lab, "latest", WINDOWS.replace("partitions=2", 'partitions=2, start="latest"'))
    orders.send(20)
    deploy(lab.project, orders.name)
    assert lab.project.ledger.placement(orders.name).positions == {"latest_in": {"0": 10, "1": 10}}
    row = orders.judged("idle")
    assert row.consumer_lag == 0
    # It has read nothing yet, so that its savepoint holds no position.
    deploy(lab.project, orders.name, kind="suspend")
    orders.send(20, amount=1_000.0)
    deploy(lab.project, orders.name, kind="resume")

    def kept():
        orders.send(2)
        return {row["user"] for row in wire.rows(lab.local.kafka_servers, "latest_out") if row["total"] >= 1_000}

    wait_for(lambda: len(kept()) == 20, "records that came while it was suspended are missing", watched=kept)


def test_healthy_job_whose_records_become_malformed_is_failed_not_idle(lab):
    orders = Orders(lab, "turned")
    orders.send(20)
    deploy(lab.project, orders.name)
    row = orders.judged("failed", again=lambda: orders.send(60, amount="1.0"))
    assert "records malformed; first reason wrong type: amount" in " ".join(row.reasons)
    assert not any("no input" in words for words in row.reasons)


def test_job_that_drops_all_rows_after_a_record_from_the_future_is_failed(lab):
    orders = Orders(lab, "ahead")
    orders.send(20)
    deploy(lab.project, orders.name)
    orders.send(2, event_after=3_000_000, arrival_after=3_000_000)
    row = orders.judged("failed", again=lambda: orders.send(100))
    assert "rows dropped: behind the watermark" in " ".join(row.reasons)


def test_records_of_an_open_transaction_are_still_to_be_read(lab):
    orders = Orders(lab, "held")
    # So that the job may have read everything, and the broker is asked.
    orders.send(20, event_after=-60_000, arrival_after=-60_000)
    deploy(lab.project, orders.name)
    assert orders.row().consumer_lag == 0
    producer = Producer({"bootstrap.servers": lab.local.kafka_servers, "transactional.id": "held-writer"})
    producer.init_transactions(10)
    producer.begin_transaction()
    for number in range(50):
        producer.produce("held_in", json.dumps({"user": "u", "amount": 1.0, "at": 0}).encode(), partition=number % 2)
    producer.flush(10)
    assert [orders.row().consumer_lag for _ in range(2)] == [50, 50]
    producer.abort_transaction(10)
    wait_for(lambda: orders.row().consumer_lag == 0, "the aborted records count as lag")


def test_deploy_fails_with_the_python_error_of_a_waiting_record(lab):
    orders = Orders(lab, "geo", FUNCTION)
    orders.send(1)
    result = operate(lab.project, "geo")
    assert result.outcome == "failed"
    assert "ModuleNotFoundError: No module named 'no_such_package'" in str(result.error)


def test_deploy_fails_when_a_waiting_record_makes_a_row_that_kafka_refuses(lab):
    # The broker may be at fault for what it refuses: only the deadline ends that.
    orders = Orders(lab, "long_rows", LONG_ROWS, timeout="25s")
    orders.send(1, amount=1_200_000.0)
    result = operate(lab.project, "long_rows")
    assert result.outcome == "failed"
    assert "RecordTooLargeException" in str(result.error)
