"""Approval requests and answers as Airflow's own database has them."""

from tests.support.ledgers import new_ledger
from tests.support.own_process import run_module


def test_airflow_stores_and_clears_approval_requests_as_sluice_expects(tmp_path):
    """Airflow's upsert, and its clearing of a task, on a metadata database that only this test uses."""
    run_module("tests.support.stored_questions", tmp_path, new_ledger(tmp_path))
