"""The job SDK as a zip, for Python workers on a cluster where Sluice isn't installed.

The SDK needs pydantic, which has compiled parts that a zip can't contain. For jobs with Python UDFs or DataStream
functions, the TaskManagers' Python must have pydantic installed, in the version of requirements.txt.
"""

from __future__ import annotations

from pathlib import Path

import sluice
from sluice.release.artifact import store_files


def package_sdk(store: Path) -> Path:
    """Store the SDK as a zip: `sluice/__init__.py`, `sluice/errors.py` and `sluice/job`; returns its path."""
    package = Path(sluice.__file__).parent
    files = [package / "__init__.py", package / "errors.py", *(package / "job").glob("*.py")]
    return store_files({file.relative_to(package.parent).as_posix(): file.read_bytes() for file in files}, store).file
