"""State is kept under an operator id only if the operator computes the same."""

import json

import pytest

from sluice.errors import RefusedError
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.run import make_plan
from sluice.operation.topics import create_topics
from sluice.plan.explain import explain
from sluice.plan.request import DeployRequest
from tests.support.ledgers import forget_operators
from tests.support.running import deploy, operate
from tests.support.waiting import wait_for
from tests.support.windowed import HOUR, alive, base

JOB = """
from datetime import datetime
from sluice import Health, Job, Kafka, Record

class Order(Record):
    buyer: str
    shop: str
    amount: int
    at: int

class Out(Record):
    window_start: datetime
    buyer: str
    shop: str
    most: int

job = Job(
    name="{name}",
    reads={{"orders": Kafka("{name}_orders", record=Order, event_time="at", idle_timeout=None, partitions=1)}},
    writes=Kafka("{name}_out", record=Out, key=("window_start", "buyer")),
    health=Health(start_timeout="40s"),
)

@job.pipeline
def build(t_env):
    t_env.create_temporary_view("renamed", t_env.sql_query(
        "SELECT shop AS buyer, buyer AS shop, amount, event_time FROM orders"))
    return t_env.sql_query('''
        SELECT window_start, buyer, shop, {most} AS most
        FROM TABLE(TUMBLE(TABLE {table}, DESCRIPTOR(event_time), INTERVAL '1' HOUR))
        WHERE amount > {least}
        GROUP BY window_start, window_end, {keys}
    ''')
"""


def source(name, **words):
    usual = {"most": "MAX(amount)", "table": "orders", "least": 0, "keys": "buyer, shop"}
    return JOB.format(name=name, **usual | words)


def produce(lab, name, *orders):
    messages = [
        Message(b"", json.dumps({"buyer": buyer, "shop": shop, "amount": amount, "at": at}).encode(), at, 0)
        for buyer, shop, amount, at in orders
    ]
    wire.produce(lab.local.kafka_servers, f"{name}_orders", messages)


def start(lab, name):
    """The job with an order in an open window."""
    lab.job(name, source(name))
    create_topics(lab.project, name)
    produce(lab, name, ("ann", "books", 5, base() + 1))
    return deploy(lab.project, name)


def close_window(lab, name):
    """One more order in the open window, then one that closes it; the window's rows."""
    produce(lab, name, ("ann", "books", 3, base() + 2), ("z", "z", 9, base() + 2 * HOUR))
    rows = wait_for(lambda: wire.rows(lab.local.kafka_servers, f"{name}_out"))
    return sorted((row["buyer"], row["shop"], row["most"]) for row in rows)


def altered(plan):
    """The one operator whose state means something else."""
    assert plan.needs_approval
    assert (plan.category, plan.alters_state) == ("state_breaking", True)
    (operator,) = plan.state.altered
    assert "GlobalWindowAggregate" not in {kept.name.partition("[")[0] for kept in plan.state.kept}
    return operator


def test_swapped_group_by_columns_do_not_take_over_state_unapproved(lab):
    first = start(lab, "swapped")
    lab.job("swapped", source("swapped", keys="shop, buyer"))
    plan = make_plan(lab.project, "swapped", DeployRequest())
    operator = altered(plan)
    assert "groupBy=[buyer, shop]" in operator.old
    assert "groupBy=[shop, buyer]" in operator.new
    assert f"    old: {operator.old}" in explain(plan)
    assert f"    new: {operator.new}" in explain(plan)
    with pytest.raises(RefusedError, match="state would be kept with another meaning") as refused:
        deploy(lab.project, "swapped")
    assert "take mode stateless" in refused.value.remedy
    assert alive(lab, "swapped") == [first.flink_job_id]
    # What the refusal offers: no row mixes the keys, and the order from before went with the state.
    second = operate(lab.project, "swapped", mode="stateless", approved=True)
    assert (second.outcome, second.restored_from) == ("healthy", None), second.error
    assert close_window(lab, "swapped") == [("ann", "books", 3)]


def test_changed_window_is_shown_old_and_new_and_a_filter_needs_no_approval(lab):
    start(lab, "edits")
    for words, old, new in (
        ({"most": "MIN(amount)"}, "MAX(max$0) AS most", "MIN(min$0) AS most"),
        ({"most": "MAX(amount * 2)"}, "MAX(amount) AS", "MAX($f"),
        (
            {"table": "renamed"},
            "Calc(select=[buyer, shop, amount,",
            "Calc(select=[shop AS buyer, buyer AS shop, amount,",
        ),
    ):
        lab.job("edits", source("edits", **words))
        operator = altered(make_plan(lab.project, "edits", DeployRequest()))
        assert old in operator.old, operator.old
        assert new in operator.new, operator.new

    # A release that was entered before this was kept is asked of the cluster that runs it.
    forget_operators(lab.project, "edits")
    assert "Calc(select=[buyer, shop, amount," in altered(make_plan(lab.project, "edits", DeployRequest())).old

    lab.job("edits", source("edits", least=1))
    plan = make_plan(lab.project, "edits", DeployRequest())
    (operator,) = plan.state.input_changed
    assert "(amount > 0)" in operator.old
    assert "(amount > 1)" in operator.new
    assert (plan.category, plan.needs_approval, plan.state.altered) == ("state_compatible", False, ())
    assert deploy(lab.project, "edits").outcome == "healthy"
    assert close_window(lab, "edits") == [("ann", "books", 5)]
