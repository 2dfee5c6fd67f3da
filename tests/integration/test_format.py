"""The JSON format's own tests (tests/java), which need nothing that runs."""

import subprocess

from tests.support.stacks import ROOT


def test_strict_json_format_reads_or_refuses_every_record():
    command = ["mvn", "--quiet", "--batch-mode", "--no-transfer-progress", "-P", "format-tests", "test"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8_000:]
