"""The DAG files that a page shows."""

import re
import textwrap
from pathlib import Path


def examples(page: Path) -> dict[str, str]:
    """Each block of a page that begins with `# dags/<name>`, by that name."""
    found = {}
    for block in re.findall(r"(?:^(?: {4}.*)?\n)+", page.read_text(), re.MULTILINE):
        text = textwrap.dedent(block).strip("\n")
        if match := re.match(r"# dags/(\w+\.py)\n", text):
            found[match[1]] = text + "\n"
    return found
