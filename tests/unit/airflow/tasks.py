"""Tasks as Airflow's task runner runs them: the context of a try, and the call of `execute`."""

import asyncio
from contextlib import aclosing
from contextvars import copy_context
from types import SimpleNamespace

from airflow.sdk import DAG
from airflow.sdk.bases.operator import ExecutorSafeguard


class TaskInstance:
    """What the operators use of a task instance.

    Args:
        runs: The states of Airflow's DAG runs, by DAG and run.
        given: Attributes of the task instance.

    Attributes:
        xcoms: The values that the task has pushed, by key.
    """

    def __init__(self, runs=None, **given):
        self.runs = {} if runs is None else runs
        self.xcoms = {}
        self.map_index, self.try_number, self.max_tries = -1, 1, 2
        vars(self).update(given)

    def xcom_push(self, key, value):
        self.xcoms[key] = value

    def get_dr_count(self, dag_id, run_ids, states=None):
        found = [state for run in run_ids if (state := self.runs.get((dag_id, run)))]
        return sum(1 for state in found if states is None or state in states)


class OutletEvents(dict):
    """The asset events of a task, by their assets; here also by the assets' URIs."""

    def __missing__(self, asset):
        return self.setdefault(getattr(asset, "uri", asset), SimpleNamespace(extra=None))

    def __getitem__(self, asset):
        return super().__getitem__(getattr(asset, "uri", asset))


def context(dag="deploy.counts", run="r1", *, runs=None, params=None, **given):
    """The context of a try.

    Args:
        dag: The id of the DAG.
        run: The id of its run.
        runs: The states of Airflow's DAG runs, by DAG and run.
        params: The parameters of the run.
        given: Attributes of the task instance.
    """
    ti = TaskInstance(runs, **given)
    return {
        "dag": DAG(dag, schedule=None),
        "run_id": run,
        "ti": ti,
        "task_instance": ti,
        "params": params or {},
        "dag_run": SimpleNamespace(run_type="manual", triggering_user_name=None),
        "outlet_events": OutletEvents(),
    }


def execute(operator, context):
    """Call `execute` as the task runner does; Airflow refuses other calls."""
    context.setdefault("task", operator)
    runner = copy_context()
    runner.run(ExecutorSafeguard.tracker.set, operator)
    return runner.run(operator.execute, context)


def on(project, operator):
    """The operator, working on this project."""
    operator.project = lambda: project
    return operator


def raises(error):
    """A function that raises the error, whatever its arguments."""

    def fail(*_arguments, **_named):
        raise error

    return fail


def event_of(trigger):
    """The first event of a trigger."""

    async def first():
        async with aclosing(trigger.run()) as events:
            return (await anext(events)).payload

    return asyncio.run(first())
