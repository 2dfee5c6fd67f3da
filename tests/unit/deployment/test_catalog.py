import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from sluice.deployment.catalog import Catalog, read_catalog
from sluice.errors import ConfigError
from tests.simulator.job_files import TrustedFiles

GOOD = """
    '''Copies.'''
    from sluice import Job, Kafka, Record
    class Row(Record):
        a: int
    job = Job(name="{name}", reads={{"rows": Kafka("in", record=Row)}}, writes=Kafka("out", record=Row))
    @job.pipeline
    def build(rows):
        return rows
"""


READ = """
import sys
from pathlib import Path
from sluice.deployment.catalog import read_catalog
assert list(read_catalog(Path(sys.argv[1])).jobs) == ["counts"]
print(sys.modules["flink_jobs.counts"].SIZE)
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(**files: str) -> Catalog:
        jobs = tmp_path / "flink_jobs"
        jobs.mkdir(exist_ok=True)
        (jobs / "__init__.py").touch()
        for stem, text in files.items():
            (jobs / f"{stem}.py").write_text(textwrap.dedent(text))
        return read_catalog(tmp_path, TrustedFiles())

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_each_job_file_defines_a_job(project):
    catalog = project(one=GOOD.format(name="one"), two=GOOD.format(name="two"))
    assert sorted(catalog.jobs) == ["one", "two"]
    assert catalog.broken == ()
    assert catalog.job("one").description == "Copies."


def test_broken_job_file_hides_no_other_job(project):
    catalog = project(good=GOOD.format(name="good"), bad="x = 1\nraise RuntimeError('no')\n", worse="def (:\n")
    assert list(catalog.jobs) == ["good"]
    errors = {file.name: file.error for file in catalog.broken}
    assert errors["bad"].endswith("bad.py:2: RuntimeError: no")
    assert "worse.py:1: SyntaxError" in errors["worse"]
    with pytest.raises(ConfigError, match="RuntimeError: no"):
        catalog.job("bad")


def test_job_file_must_have_the_name_of_its_job(project):
    catalog = project(one=GOOD.format(name="same"), same=GOOD.format(name="same"))
    assert list(catalog.jobs) == ["same"]
    assert catalog.jobs["same"].file.name == "same.py"
    (broken,) = catalog.broken
    assert "one.py:6: the file is named one and its job same: a job file must have the name of its job" in broken.error
    assert "rename the file to same.py, or the job to one" in broken.error


def test_broken_job_file_replaces_no_other_files_job(project):
    catalog = project(a=GOOD.format(name="b"), b="1 +\n")
    assert catalog.jobs == {}
    assert [file.name for file in catalog.broken] == ["a", "b"]


@pytest.mark.parametrize("stem", ["event_metrics copy", "Ev", "1st", "a-b", "class", "a.b"])
def test_job_file_with_an_invalid_name_is_broken(project, stem):
    catalog = project(one=GOOD.format(name="one"), **{stem: GOOD.format(name="one")})
    assert list(catalog.jobs) == ["one"]
    assert [file.name for file in catalog.broken] == [stem]
    assert "rename the file to a Python identifier" in catalog.broken[0].error


def test_job_file_without_a_job_names_the_shared_directory(project):
    (file,) = project(helper="x = 1\n").broken
    assert "expected one job, found none" in file.error
    assert "flink_jobs/shared/" in file.error


def test_pyflink_import_at_module_level_is_refused(project):
    (file,) = project(eager="import pyflink\n" + textwrap.dedent(GOOD.format(name="eager"))).broken
    assert "import pyflink inside the pipeline function" in file.error
    assert "pyflink" not in sys.modules


def test_pyflink_in_shared_code_breaks_every_file_that_imports_it(project, tmp_path):
    shared = tmp_path / "flink_jobs" / "shared"
    shared.mkdir(parents=True)
    (shared / "clean.py").touch()
    (shared / "eager.py").write_text("import pyflink\n")
    job = textwrap.dedent(GOOD)
    files = {
        "a": "import flink_jobs.shared.clean\n" + job.format(name="a"),
        "b": "import flink_jobs.shared.eager\n" + job.format(name="b"),
        "c": "from flink_jobs.shared import eager\n" + job.format(name="c"),
        "d": "from flink_jobs.shared import clean\n" + job.format(name="d"),
        "e": "from flink_jobs.shared import eager\nraise RuntimeError('later')\n",
        "f": job.format(name="f"),
    }
    for _ in range(2):
        catalog = project(**files)
        assert list(catalog.jobs) == ["a", "d", "f"]
        errors = {file.name: file.error for file in catalog.broken}
        assert all("imports pyflink" in errors[name] for name in "bc")
        assert "RuntimeError: later" in errors["e"]
        assert "pyflink" not in sys.modules


def test_catalog_refuses_a_job_without_a_pipeline(project):
    text = textwrap.dedent(GOOD.format(name="bare")).split("@job")[0]
    (file,) = project(bare=text).broken
    assert "has no pipeline" in file.error


def test_unknown_job_error_names_the_known_jobs(project):
    catalog = project(one=GOOD.format(name="one"))
    with pytest.raises(ConfigError, match="there is no job 'two'; the project has: one"):
        catalog.job("two")


def test_catalog_of_another_project_is_loaded_afresh(project, tmp_path):
    project(one=GOOD.format(name="one"))
    other: Path = tmp_path / "other"
    (other / "flink_jobs").mkdir(parents=True)
    (other / "flink_jobs" / "__init__.py").touch()
    (other / "flink_jobs" / "two.py").write_text(textwrap.dedent(GOOD.format(name="two")))
    assert list(read_catalog(other, TrustedFiles()).jobs) == ["two"]


def test_job_file_changed_twice_within_a_second_is_read_again(tmp_path):
    """Size and time in whole seconds stay the same, so that Python considers cached bytecode current."""
    file = tmp_path / "flink_jobs" / "counts.py"
    file.parent.mkdir()
    moment = time.time() + 30
    writing = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for size in (1, 2):
        file.write_text(textwrap.dedent(GOOD.format(name="counts")) + f"SIZE = {size}\n")
        # In the future, so that it counts as just changed even on a slow machine.
        os.utime(file, (moment, moment))
        command = [sys.executable, "-c", READ, str(tmp_path)]
        read = subprocess.run(command, capture_output=True, text=True, check=True, env=writing)
        assert read.stdout.strip() == str(size)
