"""The job SDK as a zip, for Python workers on a cluster that has no Sluice.

The SDK needs pydantic, whose compiled part no such zip can carry: the TaskManagers' Python must have it installed, in
the version of requirements.txt, for jobs with Python UDFs or DataStream functions.
"""

from __future__ import annotations

from pathlib import Path

import sluice
from sluice.release.artifact import store_files


def package_sdk(store: Path) -> Path:
    """The zip in the store: `sluice` with its errors and the SDK, and nothing else."""
    package = Path(sluice.__file__).parent
    files = [package / "__init__.py", package / "errors.py", *(package / "job").glob("*.py")]
    return store_files({file.relative_to(package.parent).as_posix(): file.read_bytes() for file in files}, store).file
