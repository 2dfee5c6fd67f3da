"""One range of a job's history, replayed by one task and then by a group; its ends are the run's configuration."""

from airflow.sdk import DAG

from sluice.airflow import BackfillOperator, backfill_group

ASKED = {
    "start": "{{ dag_run.conf['start'] }}",
    "end": "{{ dag_run.conf['end'] }}",
    "chunk": "60s",
    "accept_missing": True,
}

with DAG("one_range", schedule=None, render_template_as_native_obj=True):
    one = BackfillOperator(task_id="one", job="event_metrics", asked=ASKED, retries=2)
    one >> backfill_group("event_metrics", asked=ASKED)
