"""Artifacts and fingerprints: what changes them, and what does not."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sluice.deployment.catalog import read_catalog
from sluice.deployment.desired import desired_job
from sluice.deployment.file import read_deployment_file
from sluice.errors import ConfigError, OperationError
from sluice.release.artifact import package, verify
from sluice.release.fingerprint import _form, fingerprint
from sluice.release.modules import job_modules
from sluice.release.versions import CURRENT, Versions
from tests.simulator.job_files import TrustedFiles

JOB = '''"""A job."""
from flink_jobs.shared.rows import ROWS
from sluice import Job, JobConfig, Kafka, Record

class Config(JobConfig):
    limit: int = 1

class Out(Record):
    id: str

job = Job(name="{name}", config=Config, reads={{"rows": ROWS}}, writes=Kafka("{name}_out", record=Out))

@job.pipeline
def build(rows):
    # a comment
    return rows
'''
SHARED = """from sluice import Kafka, Record

class Row(Record):
    id: str

ROWS = Kafka("rows", record=Row)
"""
ROOT = Path(__file__).resolve().parents[3]
DEPLOYMENT = "flink: {url: 'http://127.0.0.1:8081'}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "flink_jobs" / "shared").mkdir(parents=True)
    for name in ("first", "second"):
        (tmp_path / "flink_jobs" / f"{name}.py").write_text(JOB.format(name=name))
    (tmp_path / "flink_jobs" / "shared" / "rows.py").write_text(SHARED)
    (tmp_path / "deployment.yaml").write_text(DEPLOYMENT)
    return tmp_path


def edit(root, name, old, new):
    file = root / "flink_jobs" / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def digest(root, name="first", versions=CURRENT):
    # A new process would import the module again.
    import sys

    for loaded in [module for module in sys.modules if module.partition(".")[0] == "flink_jobs"]:
        del sys.modules[loaded]
    catalog = read_catalog(root, TrustedFiles())
    content, document = read_deployment_file(root / "deployment.yaml", catalog.jobs)
    return fingerprint(root, desired_job(catalog.job(name), "test", content, document), versions=versions)


def test_fingerprint_of_a_job_without_secrets_is_unchanged(root):
    # A changed fingerprint would make a new release of every job, and restart it.
    versions = Versions(flink="2.3.0", kafka_connector="5.0.0-2.2", pipeline=1)
    assert digest(root, versions=versions) == "814a5e76e65276511331d360ef79e7d74b968df692d8e9da674e11f9de5bc0b4"


def test_job_modules_are_its_own_and_its_imports(root):
    assert list(job_modules(root, "flink_jobs.first")) == [
        "flink_jobs",
        "flink_jobs.first",
        "flink_jobs.shared",
        "flink_jobs.shared.rows",
    ]


def test_equal_code_gives_the_same_artifact(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "project"
    shutil.copytree(root, other)
    for file in other.rglob("*.py"):
        os.utime(file, (1, 1))
    first = package(root, "flink_jobs.first", root / "store")
    second = package(other, "flink_jobs.first", other / "store")
    assert first.digest == second.digest
    assert first.file.read_bytes() == second.file.read_bytes()
    assert zipfile.ZipFile(first.file).namelist() == [
        "flink_jobs/__init__.py",
        "flink_jobs/first.py",
        "flink_jobs/shared/__init__.py",
        "flink_jobs/shared/rows.py",
    ]


def test_changed_code_gives_another_artifact(root):
    before = package(root, "flink_jobs.first", root / "store").digest
    edit(root, "shared/rows.py", '"rows"', '"lines"')
    assert package(root, "flink_jobs.first", root / "store").digest != before


def test_damaged_artifact_is_refused(root):
    artifact = package(root, "flink_jobs.first", root / "store")
    assert verify(root / "store", artifact.digest) == artifact.file
    with zipfile.ZipFile(artifact.file, "a") as archive:
        archive.writestr("flink_jobs/more.py", "")
    with pytest.raises(OperationError, match="has changed in the store"):
        verify(root / "store", artifact.digest)
    artifact.file.unlink()
    with pytest.raises(OperationError, match="can't be read: .*check out the code of that release"):
        verify(root / "store", artifact.digest)
    package(root, "flink_jobs.first", root / "store")
    assert verify(root / "store", artifact.digest) == artifact.file


def test_import_of_a_missing_module_is_named(root):
    edit(root, "first.py", "flink_jobs.shared.rows", "flink_jobs.shared.nothing")
    with pytest.raises(ConfigError, match=r"module flink_jobs\.shared\.nothing does not exist in"):
        job_modules(root, "flink_jobs.first")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("first.py", "# a comment", "# another"),
        ("first.py", '"""A job."""', '"""A job, explained."""'),
        ("second.py", "return rows", "return rows.limit(1)"),
    ],
)
def test_comments_docstrings_and_other_jobs_keep_the_fingerprint(root, name, old, new):
    before = digest(root)
    edit(root, name, old, new)
    assert digest(root) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("first.py", "return rows", "return rows.limit(1)"),
        ("first.py", "limit: int = 1", "limit: int = 2"),
        ("shared/rows.py", "id: str", "id: str | None"),
        ("shared/rows.py", '"rows"', '"lines"'),
    ],
)
def test_what_decides_how_a_job_runs_changes_its_fingerprint(root, name, old, new):
    before = digest(root)
    edit(root, name, old, new)
    assert digest(root) != before


def test_setting_of_one_job_changes_no_other_fingerprint(root):
    first, second = digest(root, "first"), digest(root, "second")
    (root / "deployment.yaml").write_text(DEPLOYMENT + "jobs:\n  first:\n    config: {limit: 5}\n")
    assert digest(root, "first") != first
    assert digest(root, "second") == second


SETS = """
import sys
from pathlib import Path
from sluice.deployment.catalog import read_catalog
from sluice.deployment.desired import desired_job
from sluice.deployment.file import read_deployment_file
from sluice.release.versions import CURRENT, Versions
from sluice.release.fingerprint import fingerprint

root = Path(sys.argv[1])
catalog = read_catalog(root)
content, document = read_deployment_file(root / "deployment.yaml", catalog.jobs)
desired = desired_job(catalog.job("first"), "test", content, document)
print(desired.values()["config"], fingerprint(root, desired))
"""


def test_set_valued_setting_gives_the_same_fingerprint_everywhere(root):
    fields = (
        "names: frozenset[str] = frozenset('abcdefgh')\n"
        "    nested: dict[str, tuple[frozenset[str], ...]] = {'x': (frozenset('stuvwxyz'),)}"
    )
    edit(root, "first.py", "limit: int = 1", fields)

    def found(seed: str) -> str:
        command = [sys.executable, "-c", SETS, str(root)]
        variables = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout

    answers = {found(seed) for seed in ("1", "2", "3")}
    assert len(answers) == 1
    assert f"'names': {list('abcdefgh')}, 'nested': {{'x': [{list('stuvwxyz')}]}}" in answers.pop()


_DIGEST = """
import ast, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
source = Path(sys.argv[1], "sluice", "release", "fingerprint.py").read_text()
# The two functions alone: another Python has none of what the module imports.
tree = ast.parse(source)
tree.body = [node for node in tree.body if getattr(node, "name", None) in ("_form", "_is_left_out")]
names = {"ast": ast}
exec(compile(tree, "fingerprint", "exec"), names)
print(names["_form"](ast.parse(Path(sys.argv[2]).read_text())))
"""
CODE = """
import a.b as c
from . import d
X: int = None
async def f(x, /, y=1, *z, k, **more): return [i async for i in x if not i]
class A(B, metaclass=C):
    @property
    def g(self): return f"{self!r:>{10}} {{}}" "tail" + b"x".decode() + u"u"
    def h(self):
        match self:
            case None | {"k": [1, *_], **rest}: return lambda: (yield)
            case A(x=0) as found: raise E from None
        try: del x[1:2, ...]
        except* E as e: global X
        with open("f") as g, h: return (y := -1.5j)
"""


def test_code_form_is_that_of_python_3_11():
    if sys.version_info[:2] != (3, 11):
        pytest.skip("another one dumps otherwise")
    for text in (CODE, SHARED, JOB.format(name="first"), Path(__file__).read_text()):
        assert _form(ast.parse(text)) == ast.dump(ast.parse(text))


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_every_python_gives_the_same_code_form(tmp_path, version):
    python = next(iter(sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python"))), None)
    python = python or shutil.which(f"python{version}")
    if python is None:
        pytest.skip(f"no Python {version}")
    (tmp_path / "code.py").write_text(CODE)
    command = [str(python), "-c", _DIGEST, str(ROOT / "include"), str(tmp_path / "code.py")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == _form(ast.parse(CODE))


def test_empty_fields_of_later_python_versions_are_left_out():
    tree = ast.parse("def f(): pass")
    tree.body[0].type_params = []
    tree.body[0]._fields = (*ast.FunctionDef._fields, *({"type_params"} - {*ast.FunctionDef._fields}))
    assert "type_params" not in _form(tree)
