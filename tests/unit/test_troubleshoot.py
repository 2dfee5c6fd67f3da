"""docs/troubleshoot.md lists exactly the messages that Sluice's errors can have."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice import errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "troubleshoot.md"
NAMES = {name for name, _ in inspect.getmembers(errors, inspect.isclass)} | {
    *("StopFailedError", "NotSettledError", "AirflowException", "AirflowFailException")
}
ELSEWHERE = {
    "include/sluice/client/failure.py": {"the checkpoint can't be read: …"},
    "include/sluice/operation/roll_back.py": {
        "…; but the metrics of the cluster are stale, so the job can't be verified: it keeps running. Deploy "
        "again in … (web.timeout), or after a restart of the JobManager, to verify the job",
        "…; release … was started again from …: …. Deploy again to verify it",
    },
    "include/sluice/kafka/topic_steps.py": {
        'topic … has … partitions, the job declares …; run "sluice deploy … --grow-partitions", or declare …',
        "topic … has … partitions, the job declares …; Kafka can't remove partitions: declare …",
        "topic … has replication …, the job declares …; move replicas with Kafka's own tools, or declare …",
        'topic …: …; run "sluice deploy … --change-topics", or declare the values of the broker',
    },
}
"""Messages that are passed to the error as a variable."""


def messages() -> dict[str, str]:
    """Each message with its file and line; placeholders are replaced by an ellipsis."""
    found = {}
    for file in sorted((ROOT / "include" / "sluice").rglob("*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in NAMES and call.args:
                place = f"{file.relative_to(ROOT)}:{call.lineno}"
                found |= {bare(words): place for words in _templates(call.args[0])}
    return {words: place for words, place in found.items() if re.search(r"\w{3}", words)}


def _templates(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in values)
        case ast.BinOp(left=left):
            yield from (f"{words}…" for words in _templates(left))


def bare(message: str) -> str:
    """The message without a leading place: job, file or line."""
    return re.sub(r"^(…: |…:…: )+", "", " ".join(message.split()))


def listed() -> list[str]:
    """The messages of the page: the code in the first column of its tables."""
    rows = [line.split(" | ")[0] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [bare(words) for row in rows for words in re.findall(r"`([^`]+)`", row)]


def test_every_error_message_is_on_the_troubleshooting_page():
    missing = {words: place for words, place in messages().items() if words not in listed()}
    assert not missing, "not in docs/troubleshoot.md:\n" + "\n".join(f"{p}: {w}" for w, p in missing.items())


def test_troubleshooting_page_has_no_outdated_message():
    known = {*messages(), *(bare(words) for texts in ELSEWHERE.values() for words in texts)}
    assert [words for words in listed() if words not in known] == []


def test_troubleshooting_page_has_no_duplicate_message():
    assert sorted(listed()) == sorted(set(listed()))


@pytest.mark.parametrize("file", ELSEWHERE)
def test_message_that_is_passed_as_a_value_exists(file):
    text = re.sub(r'"\s*f?"|\{[^}]*\}', "", (ROOT / file).read_text())
    for words in ELSEWHERE[file]:
        assert all(part in text for part in re.split("…|; ", words) if len(part) > 3), words


def test_every_troubleshooting_row_has_an_explanation():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows
    assert all(re.fullmatch(r"\| `.+` \| .{10,} \|", line) for line in rows)
