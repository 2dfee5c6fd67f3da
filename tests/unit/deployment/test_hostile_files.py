"""Job files that end, block or change the importing process: they are broken, and other jobs still load."""

import json
import os
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from sluice.deployment.catalog import read_catalog
from sluice.deployment.import_check import ImportCheck
from sluice.deployment.time_limit import TooLongError, time_limit
from tests.support.waiting import wait_for
from tests.unit.deployment.test_catalog import GOOD

HANG = "import time\nstarted = 1\nwhile True:\n    time.sleep(0.01)\n"
ENDING = {
    "exits": ("import sys\nx = 1\nsys.exit(1)\n", "exits.py:3: the import called sys.exit(1)"),
    "quits": ("raise SystemExit\n", "quits.py:1: the import called sys.exit()"),
    "dies": ("import os\nos._exit(3)\n", "the import ended the Python process with status 3, as os._exit does"),
    "ends": ("import os\nos._exit(0)\n", "the import ended the Python process with status 0, as os._exit does"),
    "crashes": (
        "import os, signal\nx = 1\nos.kill(os.getpid(), signal.SIGSEGV)\n",
        "crashes.py:3: the import ended the Python process by signal SIGSEGV",
    ),
    "interrupts": ("raise KeyboardInterrupt\n", "interrupts.py:1: KeyboardInterrupt"),
    "own": ("class End(BaseException): pass\nraise End('x')\n", "own.py:2: End: x"),
}


class CountedCheck(ImportCheck):
    """An import check that records the files of each child process.

    Args:
        limit: Seconds for one import.
        more: What `ImportCheck` takes.
    """

    def __init__(self, limit=10.0, **more):
        super().__init__(import_limit=lambda: limit, **more)
        self.made = []

    def check_in_child(self, root, files, limit, done):
        self.made.append([file.stem for file in files])
        return super().check_in_child(root, files, limit, done)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.delenv("SLUICE_HOME", raising=False)
    before = set(sys.modules)
    jobs = tmp_path / "flink_jobs"
    jobs.mkdir()
    own_check = CountedCheck()

    def read(check=own_check, **files: str):
        for stem, text in files.items():
            file = jobs / f"{stem}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(textwrap.dedent(text))
            sys.modules.pop(f"flink_jobs.{stem}", None)
        catalog = read_catalog(tmp_path, check)
        return sorted(catalog.jobs), {file.name: file.error for file in catalog.broken}

    yield read
    for name in set(sys.modules) - before:
        del sys.modules[name]


def good(name: str) -> str:
    return textwrap.dedent(GOOD.format(name=name))


def test_file_that_ends_the_process_is_broken_and_other_jobs_load(project):
    jobs, broken = project(a=good("a"), z=good("z"), **{name: text for name, (text, _) in ENDING.items()})
    assert jobs == ["a", "z"]
    assert {name: words for name, (_, words) in ENDING.items() if words not in broken[name]} == {}, broken


def test_file_whose_import_hangs_is_broken_with_the_waiting_line(project, tmp_path):
    jobs, broken = project(CountedCheck(limit=2.0), a=good("a"), hangs=HANG, z=good("z"))
    assert jobs == ["a", "z"]
    assert broken["hangs"] == (
        f"{tmp_path}/flink_jobs/hangs.py:4: the import took longer than 2 s; move slow code into the pipeline function"
    )


def test_import_check_kills_processes_that_a_file_started(project, tmp_path):
    pid_file = tmp_path / "pid"
    starts = f"""
        import os, pathlib, subprocess
        pathlib.Path({str(pid_file)!r}).write_text(str(subprocess.Popen(["sleep", "60"]).pid))
        os._exit(3)
        """
    _, broken = project(starts=starts)
    assert "with status 3" in broken["starts"]
    child = int(pid_file.read_text())
    wait_for(lambda: not _is_alive(child), f"process {child} goes on")


def _is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_several_hanging_files_take_no_longer_than_the_budget(project):
    check = CountedCheck(limit=0.3, budget=0.4)
    files = {f"hangs_{number}": HANG for number in range(4)}
    _, broken = project(check, **files)
    assert len(check.made) <= 2
    assert "took longer than 0.3 s" in broken["hangs_0"]
    assert "other files took all of the 0.4 s" in broken["hangs_3"]
    # Later calls reach the file.
    for _ in range(3):
        _, broken = project(check)
    assert "took longer than 0.3 s" in broken["hangs_3"]


def test_checked_file_is_checked_again_only_after_a_change(project):
    check = CountedCheck()
    files = {"a": good("a"), "b": good("b"), "exits": "raise SystemExit\n"}
    assert project(check, **files)[0] == ["a", "b"]
    assert check.made == [["a", "b", "exits"]]
    # Another process reads the results from the project's home.
    other = CountedCheck()
    assert project(other)[0] == ["a", "b"]
    assert other.made == []
    project(other, b=good("b") + "x = 1\n")
    assert other.made == [["b"]]
    project(other, **{"shared/helper": "y = 1\n"})
    assert other.made[1:] == [["a", "b", "exits"]]


def test_refused_file_is_checked_again_after_some_minutes(project):
    check = CountedCheck()
    project(check, exits="raise SystemExit\n")
    project(check)
    assert len(check.made) == 1
    later = CountedCheck(recheck_after=0.0)
    project(later)
    assert len(later.made) == 1


def test_file_that_imports_a_refused_file_has_its_error(project):
    jobs, broken = project(a="import flink_jobs.dies\n" + good("a"), b=good("b"), dies="import os\nos._exit(3)\n")
    assert jobs == ["b"]
    assert "ended the Python process with status 3" in broken["dies"]
    assert "ended the Python process with status 3" in broken["a"]


def test_import_check_works_without_a_writable_home(project, monkeypatch, tmp_path):
    (tmp_path / "taken").touch()
    monkeypatch.setenv("SLUICE_HOME", str(tmp_path / "taken"))
    jobs, broken = project(a=good("a"), exits="raise SystemExit\n")
    assert (jobs, list(broken)) == (["a"], ["exits"])


def test_corrupt_import_check_results_are_ignored(project, tmp_path):
    (tmp_path / ".sluice").mkdir()
    for text in ("{", "[]", '{"a": 1}', '{"a": {"error": null, "at": "x"}}'):
        (tmp_path / ".sluice" / "imports.json").write_text(text)
        assert project(a=good("a"), exits="raise SystemExit\n")[0] == ["a"]
    assert len(json.loads((tmp_path / ".sluice" / "imports.json").read_text())) == 2


def test_checked_file_that_hangs_later_is_broken(project, tmp_path):
    waits = f"import pathlib, time\nwhile pathlib.Path({str(tmp_path / 'down')!r}).exists():\n    time.sleep(0.01)\n"
    assert project(a=good("a"), waits=waits + good("waits"))[0] == ["a", "waits"]
    (tmp_path / "down").touch()
    sys.modules.pop("flink_jobs.waits")
    # Another process that has the first one's results.
    jobs, broken = project(CountedCheck(limit=0.5))
    assert jobs == ["a"]
    assert "waits.py" in broken["waits"]
    assert "took longer than" in broken["waits"]


def test_import_time_limit_restores_another_alarm():
    import signal

    rung = []
    former = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 60)
        with time_limit(5):
            pass
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 50 < left <= 60
        with pytest.raises(TooLongError), time_limit(0.05):
            threading.Event().wait()
        assert not rung
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def test_import_changes_to_the_process_are_undone(project, capfd):
    directory, path = Path.cwd(), list(sys.path)
    bends = "import os, sys\nprint('garbage')\nos.chdir('/')\nsys.path.insert(0, '/nowhere')\n"
    jobs, broken = project(bends=bends + good("bends"), spoils=bends + "raise RuntimeError('no')\n")
    assert (jobs, list(broken)) == (["bends"], ["spoils"])
    assert (Path.cwd(), sys.path) == (directory, path)
    # Standard output is reserved for JSON.
    assert capfd.readouterr().out == ""
    os.chdir(directory)


@pytest.mark.parametrize("is_removed", [True, False])
def test_jobs_load_if_the_working_directory_is_inaccessible(project, tmp_path, monkeypatch, is_removed):
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    if is_removed:
        away.rmdir()
    else:
        # Simulates a directory without read permission, which root would always have.
        really = os.open
        monkeypatch.setattr(os, "open", lambda path, *more, **named: _refused(really, path, *more, **named))
    assert project(a=good("a"), b=good("b")) == (["a", "b"], {})


def _refused(really, path, *more, **named):
    if path == ".":
        raise PermissionError(13, "Permission denied", ".")
    return really(path, *more, **named)


def test_values_and_errors_with_broken_methods_hide_no_other_job(project):
    odd = """
        class Odd:
            @property
            def __class__(self):
                raise RuntimeError("no class")
        odd = Odd()
    """
    worse = """
        class Worse(Exception):
            def __str__(self):
                raise RuntimeError("no words")
        raise Worse
    """
    jobs, broken = project(a=good("a"), odd=odd, worse=worse)
    assert jobs == ["a"]
    assert "RuntimeError: no class" in broken["odd"]
    assert broken["worse"].endswith("worse.py:5: Worse")
