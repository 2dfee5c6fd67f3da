"""Flink clusters in memory: the answers of their REST API, and the checkpoints and savepoints that they write."""

import json
import re
from functools import partial

import httpx

from sluice.client.protocol import OperatorState, State
from sluice.errors import FlinkError, OperationError
from sluice.flink.client import FlinkClient
from sluice.flink.exchange import NoAnswerError
from tests.support.answering import answered_by

CHECKPOINTS, SAVEPOINTS = "file:///checkpoints", "file:///savepoints"


class Died(BaseException):
    """The process ends, as by SIGKILL: no handler of errors catches it."""


class SimulatedCluster:
    """The Flink cluster that the project names, and others at other addresses.

    Args:
        job: The name of its jobs.
        topic: The topic that they read.
        clock: The clock of its clients.

    Attributes:
        url: The address that the project names.
        states: Flink's state of each job that the cluster at this address knows, by the job's id.
        others: The states of the jobs of the clusters at other addresses; None: the cluster doesn't answer.
        options: Options of the cluster at each address, beside its directories.
        snapshots: The content of the checkpoints and savepoints that exist, by their paths.
        savepoints: The savepoints that were requested of running jobs, as job and path, by trigger id.
        stop_savepoint: The path of the savepoint of the last stop.
        newest_checkpoints: The path of the newest checkpoint of each job, by its id.
        requests: Each request: method, path, body.
        submissions: Each submission.
        names: The names of the jobs that have another one, by their ids.
        releases: The release that each job was submitted as, by its id.
        concurrent_jobs: The jobs that ran at the same time, whenever there was more than one.
        dies_at_submit: The client dies `before` or `after` the cluster gets the submission; None: it doesn't.
        submit_errors: The errors of the next submissions, first to last; the cluster doesn't get these.
        lost_answers: How many of the next submissions get no answer; they are pending until they are delivered.
        pending: The pending submissions, in their order.
        delivered_after: After how many requests and submissions the first pending one is delivered; None: by
            `deliver` alone.
        fails_at_stop: A job fails when it is stopped.
        never_end: The ids of jobs that stay CANCELLING when they are cancelled.
        run_time: Seconds after which the next submitted jobs are FINISHED; None: they run on.
        free_slots: How many task slots are free.
        tasks: The number of running and of finished tasks of a job, by its id; others: one task, which runs with it.
        failing_for: How many seconds a job that fails at its stop is FAILING first.
        savepoint_failure: The error of the savepoint of a stop; the job continues, unless it `fails_at_stop`.
        retains_checkpoints: Checkpoints outlive a cancel.
        checkpoints_never_complete: No requested checkpoint completes.
        failures: The failures of each job, newest first, by its id: epoch milliseconds and stack trace.
        metrics_are_stale: The cluster's metrics don't change any more.
        answers: Replaces answers: by method and path, as a regular expression, a function of the path's groups.
    """

    def __init__(self, job, topic, clock):
        self._job, self._topic, self._clock = job, topic, clock
        self.url, self.states, self.others, self.options = "http://flink", {}, {}, {}
        self.snapshots, self.savepoints, self.newest_checkpoints = {}, {}, {}
        self.requests, self.submissions, self.concurrent_jobs = [], [], []
        self.names, self.releases = {}, {}
        self.dies_at_submit, self.submit_errors = None, []
        self.lost_answers, self.pending, self.delivered_after = 0, [], None
        self.fails_at_stop = self.checkpoints_never_complete = self.metrics_are_stale = False
        self.retains_checkpoints = True
        self.failing_for, self.never_end = 0.0, set()
        self.run_time, self._finishes_at = None, {}
        self.free_slots, self.tasks = 4, {}
        self.savepoint_failure = self.stop_savepoint = None
        self.failures, self.answers = {}, {}
        self._at_request = None

    def client(self, url=None):
        """A client of the cluster at an address; None: of the one that the project names."""
        url = url or self.url

        def exchange(method, target, body):
            if url != self.url and self.others.get(url) is None:
                raise NoAnswerError("connection refused")
            return answered_by(partial(self._answer, url))(method, target, body)

        return FlinkClient(url, exchange=exchange, pauses=(), clock=self._clock)

    def move(self, url, **options):
        """Let the project name another cluster, which knows no job; the former one continues."""
        self.others[self.url], self.states, self.url = self.states, {}, url
        self.options[url] = options

    def at_request(self, request, action):
        """Call the action once, before the next request whose method and path match a regular expression."""
        self._at_request = re.compile(request), action

    def running_jobs(self):
        """The ids of the jobs that run."""
        return [job for job, state in self.states.items() if state == "RUNNING"]

    def checkpoint(self, job, *operators, number=1, position=7):
        """Complete a checkpoint of a job; its path."""
        path = f"{CHECKPOINTS}/{job}/chk-{number}"
        self.snapshots[path] = self.snapshot(*(operators or ("Window",)), position=position)
        self.newest_checkpoints[job] = path
        return path

    def snapshot(self, *operators, position=7):
        """The content of a checkpoint: these operators, and the next offset of partition 0."""
        held = (
            OperatorState(id=id_, name=id_, parallelism=1, max_parallelism=128, size=10)
            for id_ in ("Source: lines", *operators)
        )
        return State(checkpoint_id=1, operators=tuple(held), positions={self._topic: {0: position}})

    def submit(self, order, name=None):
        """Get a submission, as from a client process; the name is that of the job, if it has another one."""
        self._count_request()
        if name is not None:
            self.names[order.flink_job_id] = name
        if self.dies_at_submit == "before":
            raise Died
        if self.submit_errors:
            raise self.submit_errors.pop(0)
        self.submissions.append(order)
        if self.lost_answers:
            self.lost_answers -= 1
            self.pending.append(order)
            raise OperationError("client process: submit took longer than 60 s")
        if not self._admit(order):
            raise FlinkError("DuplicateJobSubmissionException: Job has already been submitted.")
        if self.dies_at_submit == "after":
            raise Died

    def deliver(self):
        """Deliver the first pending submission."""
        self._admit(self.pending.pop(0))

    def _admit(self, order):
        """Flink runs one job of an id, and none again of an id that it has had."""
        if order.flink_job_id in self.states:
            return False
        self.states[order.flink_job_id] = "RUNNING"
        if self.run_time is not None:
            self._finishes_at[order.flink_job_id] = self._clock.monotonic() + self.run_time
        self.releases[order.flink_job_id] = order.release
        if len(self.running_jobs()) > 1:
            self.concurrent_jobs.append(self.running_jobs())
        return True

    def _count_request(self):
        if self.delivered_after is not None and self.pending:
            self.delivered_after -= 1
            if self.delivered_after < 0:
                self.delivered_after = None
                self.deliver()

    def _finish_jobs(self):
        for job, moment in self._finishes_at.items():
            if self.states.get(job) == "RUNNING" and self._clock.monotonic() >= moment:
                self.states[job] = "FINISHED"

    def _answer(self, url, request):
        name = f"{request.method} {request.url.path}"
        if self._at_request is not None and self._at_request[0].fullmatch(name):
            (_, action), self._at_request = self._at_request, None
            action()
        self._count_request()
        body = json.loads(request.content) if request.content else {}
        self.requests.append((request.method, request.url.path, body))
        for pattern, answer in self.answers.items():
            if found := re.fullmatch(pattern, name):
                return answer(*found.groups())
        self._finish_jobs()
        answers = _Answers(self, url)
        for pattern, answer in _ROUTES.items():
            if found := re.fullmatch(pattern, name):
                return answer(answers, body, *found.groups())
        raise AssertionError(request.url)


class _Answers:
    """The answers of the cluster at one address."""

    def __init__(self, cluster, url):
        self._cluster, self._url = cluster, url
        self._states = cluster.states if url == cluster.url else cluster.others[url]

    def list_jobs(self, _body):
        jobs = [
            {
                "jid": job,
                "name": self._name(job),
                "state": state,
                "start-time": 1,
                "tasks": self._tasks(job, state),
            }
            for job, state in self._states.items()
        ]
        return _ok({"jobs": jobs})

    def _name(self, job):
        return self._cluster.names.get(job, self._cluster._job)

    def _tasks(self, job, state):
        running, finished = self._cluster.tasks.get(job, (int(state == "RUNNING"), 0))
        return {"total": 1, "running": running, "finished": finished}

    def status(self, _body, job):
        if job not in self._states:
            return _unknown(job)
        return _ok({"status": self._states[job]})

    def detail(self, _body, job):
        if job not in self._states:
            return _unknown(job)
        times = {"start-time": 1, "end-time": -1, "now": 2}
        return _ok({"jid": job, "name": self._name(job), "state": self._states[job], **times, "vertices": []})

    def job_config(self, _body, job):
        if job not in self._states:
            return _unknown(job)
        release = self._cluster.releases.get(job)
        parameters = {} if release is None else {"sluice.release": str(release)}
        return _ok({"jid": job, "name": self._name(job), "execution-config": {"user-config": parameters}})

    def job_plan(self, _body, job):
        return _unknown(job)

    def exceptions(self, _body, job):
        entries = [{"timestamp": at, "stacktrace": words} for at, words in self._cluster.failures.get(job, ())]
        return _ok({"exceptionHistory": {"entries": entries}})

    def checkpoints(self, _body, job):
        if job not in self._states:
            return _unknown(job)
        path = self._cluster.newest_checkpoints.get(job)
        newest = {"id": 1, "external_path": path, "trigger_timestamp": 1}
        counts = {"restored": 0, "in_progress": 0, "failed": 0, "completed": int(path is not None)}
        return _ok({"counts": counts, "latest": {"completed": newest if path else None}})

    def checkpoint_config(self, _body, _job):
        retains = self._cluster.retains_checkpoints
        kept = {"enabled": retains, "delete_on_cancellation": not retains}
        return _ok({"interval": 1, "timeout": 1, "externalization": kept})

    def take_checkpoint(self, body, job):
        if not self._cluster.checkpoints_never_complete:
            self._cluster.checkpoint(job)
        return _accepted({"request-id": body["triggerId"]})

    def checkpoint_result(self, _body, job, _trigger):
        if self._cluster.checkpoints_never_complete and self._states[job] == "RUNNING":
            return _ok({"status": {"id": "IN_PROGRESS"}})
        return _ok({"status": {"id": "COMPLETED"}, "operation": {"checkpointId": 1}})

    def stop(self, body, job):
        cluster = self._cluster
        if cluster.fails_at_stop:
            self._fail(job)
        if cluster.fails_at_stop or cluster.savepoint_failure:
            return _accepted({"request-id": body["triggerId"]})
        path = f"{body['targetDirectory']}/savepoint-1"
        checkpoint = cluster.newest_checkpoints.get(job)
        cluster.snapshots[path] = cluster.snapshots[checkpoint] if checkpoint else cluster.snapshot("Window")
        cluster.stop_savepoint, self._states[job] = path, "FINISHED"
        return _accepted({"request-id": body["triggerId"]})

    def _fail(self, job):
        cluster, states = self._cluster, self._states
        until = cluster._clock.monotonic() + cluster.failing_for

        def fail():
            states[job] = "FAILING" if cluster._clock.monotonic() < until else "FAILED"
            if states[job] == "FAILING":
                cluster.at_request(rf"GET /jobs/{job}/status", fail)

        fail()

    def take_savepoint(self, body, job):
        cluster, trigger = self._cluster, body["triggerId"]
        cluster.savepoints.setdefault(trigger, (job, f"{body['target-directory']}/savepoint-1"))
        return _accepted({"request-id": trigger})

    def savepoint_result(self, _body, job, trigger):
        if trigger in self._cluster.savepoints:
            return _ok({"status": {"id": "COMPLETED"}, "operation": {"location": self._cluster.savepoints[trigger][1]}})
        if self._cluster.savepoint_failure:
            cause = {"class": "c", "stack-trace": self._cluster.savepoint_failure}
            return _ok({"status": {"id": "COMPLETED"}, "operation": {"failure-cause": cause}})
        if self._states[job] != "FINISHED":
            return unknown_trigger(job, trigger)
        return _ok({"status": {"id": "COMPLETED"}, "operation": {"location": self._cluster.stop_savepoint}})

    def cancel(self, _body, job):
        self._states[job] = "CANCELLING" if job in self._cluster.never_end else "CANCELED"
        if not self._cluster.retains_checkpoints:
            self._cluster.snapshots.pop(self._cluster.newest_checkpoints.pop(job, None), None)
        return _accepted({})

    def overview(self, _body):
        slots = {"slots-total": 9, "slots-available": self._cluster.free_slots}
        return _ok({"taskmanagers": 1, **slots, "flink-version": "2.3.0"})

    def config(self, _body):
        options = {"execution.checkpointing.dir": CHECKPOINTS, "execution.checkpointing.savepoint-dir": SAVEPOINTS}
        options |= self._cluster.options.get(self._url, {})
        return _ok([{"key": key, "value": value} for key, value in options.items()])

    def metrics(self, _body):
        moment = 1 if self._cluster.metrics_are_stale else len(self._cluster.requests)
        return _ok([{"id": "Status.JVM.CPU.Time", "value": str(moment)}])


def _ok(content):
    return httpx.Response(200, json=content)


def _accepted(content):
    return httpx.Response(202, json=content)


def unknown_trigger(job, trigger):
    """The answer of a JobManager that doesn't know the savepoint, for instance since it was restarted."""
    error = f"There is no savepoint operation with triggerId={trigger} for job {job}."
    return httpx.Response(404, json={"errors": [error]})


def _unknown(job):
    return httpx.Response(404, json={"errors": [f"Job {job} not found"]})


_ROUTES = {
    "GET /jobs/overview": _Answers.list_jobs,
    "GET /overview": _Answers.overview,
    "GET /jobmanager/config": _Answers.config,
    "GET /jobmanager/metrics": _Answers.metrics,
    r"GET /jobs/(\w+)": _Answers.detail,
    r"GET /jobs/(\w+)/status": _Answers.status,
    r"GET /jobs/(\w+)/config": _Answers.job_config,
    r"GET /jobs/(\w+)/exceptions": _Answers.exceptions,
    r"GET /jobs/(\w+)/plan": _Answers.job_plan,
    r"GET /jobs/(\w+)/checkpoints": _Answers.checkpoints,
    r"GET /jobs/(\w+)/checkpoints/config": _Answers.checkpoint_config,
    r"POST /jobs/(\w+)/checkpoints": _Answers.take_checkpoint,
    r"GET /jobs/(\w+)/checkpoints/(\w+)": _Answers.checkpoint_result,
    r"POST /jobs/(\w+)/stop": _Answers.stop,
    r"POST /jobs/(\w+)/savepoints": _Answers.take_savepoint,
    r"GET /jobs/(\w+)/savepoints/(\w+)": _Answers.savepoint_result,
    r"PATCH /jobs/(\w+)": _Answers.cancel,
}
