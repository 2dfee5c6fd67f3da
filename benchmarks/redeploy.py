"""A redeploy with a changed setting: `sluice deploy` against `flink stop` and `flink run -s`.

Two jobs of the same query run side by side on the same topic, one of Sluice and one started by hand, and are redeployed
in turn. Downtime: from the old job's end until the last task of the new one runs, by the JobManager's clock. Gap: the
longest time without committed records in the job's output around the redeploy. Then commands that start a compiled
release again, against the redeploy by hand. Then redeploys with state of about 1, 100 and 500 MB (RocksDB, incremental
checkpoints), in both modes that keep state.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator

from benchmarks.pairs import Listener, Pair, Taken, traffic, write_project
from benchmarks.report import Measure, against, report
from benchmarks.stack import measuring_stack
from sluice.local.stack import Stack
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message

PAIRS = int(os.environ.get("SLUICE_BENCH_RUNS", "10"))
STATE_RUNS = int(os.environ.get("SLUICE_BENCH_STATE_RUNS", "3"))
MEGABYTES = tuple(map(int, filter(None, os.environ.get("SLUICE_BENCH_STATE_MB", "1,100,500").split(","))))
BASELINE = "flink stop, flink run -s"
EVENT_TYPES = ("page_view", "click", "conversion", "add_to_cart")


def main() -> None:
    """Measure, print and write the results."""
    with measuring_stack() as (stack, directory):
        root = write_project(directory / "project", stack.local)
        measures = [*under_traffic(Pair(stack.local, root, "event_metrics"), stack)]
        report("redeploy", measures)
        # Each size takes minutes: a failure keeps the results of those before it.
        for measure in with_state(Pair(stack.local, root, "state"), stack):
            measures.append(measure)
            report("redeploy", measures)


def under_traffic(pair: Pair, stack: Stack) -> list[Measure]:
    """Alternating pairs under live traffic."""
    taken: dict[str, list[Taken]] = {"savepoint": [], "by hand": []}
    topics = {"savepoint": pair.job, "by hand": pair.theirs}
    with traffic(pair.local):
        with stack.step("start both jobs under traffic"):
            pair.start(event_types=json.dumps(EVENT_TYPES))
            heard = {kind: Listener(pair.local.kafka_servers, topic) for kind, topic in topics.items()}
            time.sleep(15)
        now = time.monotonic()
        quiet = {kind: listener.longest_silence(now - 10, now) for kind, listener in heard.items()}
        for turn in range(PAIRS):
            types = json.dumps(EVENT_TYPES[: 3 + turn % 2])
            for kind in in_turn(taken, turn):
                since = time.monotonic()
                with stack.step(f"{kind}, {turn + 1} of {PAIRS}"):
                    one = pair.redeploy(kind, event_types=types)
                    gap = heard[kind].longest_silence(since, time.monotonic() + 3)
                taken[kind].append(Taken(one.downtime, one.command, gap))
        for listener in heard.values():
            listener.close()
        with stack.step("deploys without a change"):
            unchanged = [pair.unchanged() for _ in range(PAIRS)]
            asked = [pair.listed() for _ in range(PAIRS)]
        again: dict[str, list[float]] = {"rollback": [], "resume": [], "recovery": []}
        for turn in range(PAIRS):
            with stack.step(f"start a compiled release again, {turn + 1} of {PAIRS}"):
                for kind, seconds in again.items():
                    seconds.append(pair.start_again(kind))
    pair.end()
    ours, theirs = taken["savepoint"], taken["by hand"]
    by_hand = [one.command for one in theirs]
    name = f"gap in the committed output (without a redeploy: {quiet['savepoint']:.1f} s)"
    return [
        against("downtime", [one.downtime for one in ours], "s", BASELINE, [one.downtime for one in theirs]),
        against(name, [one.gap for one in ours], "s", BASELINE, [one.gap for one in theirs]),
        against("sluice deploy without a change", unchanged, "s", "flink list", asked),
        against("the whole command", [one.command for one in ours], "s", BASELINE, by_hand),
        *(
            against(f"the whole command of a {kind}", seconds, "s", BASELINE, by_hand)
            for kind, seconds in again.items()
        ),
    ]


def with_state(pair: Pair, stack: Stack) -> Iterator[Measure]:
    """Both modes that keep state against the baseline, with growing state."""
    pair.start(least="0")
    written = 0
    # Every id is longer than the setting, so that its change changes no row. Each job alternates its own values.
    ours, theirs = itertools.cycle("12"), itertools.cycle("12")
    for megabytes in MEGABYTES:
        with stack.step(f"let both jobs hold {megabytes} MB"):
            wire.produce(pair.local.kafka_servers, "state_in", rows(written, megabytes * 1_000))
            written = megabytes * 1_000
            pair.await_read("state_in")
        taken: dict[str, list[float]] = {"savepoint": [], "last-state": [], "by hand": []}
        for turn in range(STATE_RUNS):
            for kind in in_turn(taken, turn):
                with stack.step(f"{kind}, {megabytes} MB, {turn + 1} of {STATE_RUNS}"):
                    taken[kind].append(pair.redeploy(kind, least=next(theirs if kind == "by hand" else ours)).downtime)
        held = pair.state_bytes() / 2**20
        for mode in ("savepoint", "last-state"):
            name = f"downtime, state of {held:,.0f} MiB, {mode}"
            yield against(name, taken[mode], "s", BASELINE, taken["by hand"])


def in_turn(kinds: dict[str, list[float]] | dict[str, list[Taken]], turn: int) -> list[str]:
    """The kinds in an order in which each comes first as often as last."""
    return list(kinds) if turn % 2 else list(reversed(kinds))


def rows(first: int, end: int) -> Iterator[Message]:
    """Rows of about a kilobyte with unique ids."""
    now = int(time.time() * 1000)
    for number in range(first, end):
        row = {"id": f"{number:08d}", "at": now, "payload": os.urandom(480).hex()}
        yield Message(str(number).encode(), json.dumps(row).encode(), now, number % 2)


if __name__ == "__main__":
    main()
