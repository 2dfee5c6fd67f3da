"""More failing upgrades on a real cluster; tests/unit/operation/test_roll_back.py has them on the simulator."""

from tests.support.running import die_once_submitted, operate
from tests.support.upgrades import SHORT, SLOW, Trickle, assert_is_back, section
from tests.support.waiting import wait_for
from tests.support.windowed import close_windows, source, start_with_state


def test_release_that_completes_no_checkpoint_is_rolled_back(lab):
    start_with_state(lab, "unproven")
    lab.job("unproven", source("unproven", where=SLOW))
    # A barrier waits for the record that is being worked on, and each takes longer than the ten milliseconds.
    own = "flink: {execution.checkpointing.timeout: 10 ms, execution.checkpointing.interval: 8 s}"
    section(lab, "unproven", SHORT, own)
    with Trickle(lab, "unproven", 0.2, each=20) as trickle:
        wait_for(lambda: trickle.sent >= 100)
        result = operate(lab.project, "unproven")
    assert_is_back(lab, "unproven", result, ", at the deadline")
    assert close_windows(lab, "unproven") == [3 + trickle.sent]


def test_deploy_that_died_at_its_gates_is_verified_and_rolled_back_by_the_next(lab):
    """The next deploy finds a running job whose release has not passed its gates, and rolls it back."""
    start_with_state(lab, "orphaned", lag=5)
    lab.job("orphaned", source("orphaned", where=SLOW, lag=5))
    section(lab, "orphaned", SHORT)
    with Trickle(lab, "orphaned", 0.2, each=20) as trickle:
        die_once_submitted(lab.project, "orphaned", after=2)
        result = operate(lab.project, "orphaned")
    assert_is_back(lab, "orphaned", result, "at the deadline")
    assert close_windows(lab, "orphaned") == [3 + trickle.sent]
