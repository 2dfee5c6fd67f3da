"""A plan as Markdown, for a person who approves or rejects it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sluice.plan.explain import ACTIONS, size_of, words_of
from sluice.plan.model import Plan
from sluice.state.change import Fate

_FATES: dict[Fate, str] = {
    "kept": "kept",
    "altered": "kept, **with another meaning**",
    "dropped": "**lost**",
    "added": "new",
}

_MIXED = "kept; its input has changed: windows that are open mix both"


_LINE_ENDS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")
_MARKS = re.compile(
    # Code, emphasis, HTML, entities, cells; an underscore only where it isn't within a word.
    r"[\\`*<>&|~]|(?<![^\W_])_|_(?![^\W_])"
    # A link's address, a reference or a definition may follow, also in the surrounding text.
    r"|\](?=[(\[:])"
    # The start of a heading, a list or a task at the start of a line.
    r"|^[#+\-=\[]"
)
_PIPE = re.compile(r"(\\*)\|")
_NUMBER = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
"""The start of a numbered list."""
_ADDRESS = re.compile(r"\b(https?:|ftp:|www\\?\.)(?=\S)", re.IGNORECASE)
"""The start of an address that GitHub's Markdown turns into a link."""


def escaped(text: str) -> str:
    """External text as Markdown that shows it literally, on one line, without mark-up, HTML and links."""
    line = _MARKS.sub(r"\\\g<0>", _LINE_ENDS.sub(" ", text.strip()))
    # Airflow turns a bare address into a link, unless a zero-width space splits it.
    line = _ADDRESS.sub("\\g<0>\N{ZERO WIDTH SPACE}", line)
    return _NUMBER.sub(r"\1\\\2", line)


def markdown(plan: Plan) -> str:
    """The plan, section by section; empty sections are left out."""
    mode = f", {plan.mode}" if plan.mode else ""
    downtime = plan.expected_downtime_ms
    parts = [
        f"**{plan.job}** {ACTIONS[plan.action]} ({plan.category}{mode})."
        + (" This **loses state**." if plan.loses_state else "")
        + (" Its state **is kept with another meaning**." if plan.alters_state else "")
        + (" There is **no way back**." if plan.no_way_back else "")
        + (f" Expected downtime: {downtime / 1000:.1f} s." if downtime is not None else ""),
        _list("Warnings", plan.warnings),
        _list("Why", plan.reasons),
        _table(
            "What changes",
            ("", "from", "to", "effect"),
            [
                tuple(
                    escaped(text)
                    for text in (
                        change.path,
                        words_of(change.old),
                        words_of(change.new),
                        f"{change.category}: {change.why}",
                    )
                )
                for change in plan.changes
            ],
        ),
        _table("What happens to the state", ("operator", "holds", ""), _state(plan)),
        _table(
            "What the operators compute",
            ("operator", "old", "new"),
            [
                (escaped(operator.name), _code(operator.old), _code(operator.new or ""))
                for _, operator in plan.state.fates
                if operator.old is not None
            ],
        ),
        _list("Topics", (topic.words for topic in plan.topics if topic.action != "keep")),
        _list("What happens", (stage.words for stage in plan.stages), "1."),
    ]
    return "\n\n".join(part for part in parts if part)


def _state(plan: Plan) -> list[tuple[str, str, str]]:
    mixed = frozenset(operator.id for operator in plan.state.input_changed)
    return [
        (escaped(operator.name), size_of(operator) or "–", _MIXED if operator.id in mixed else _FATES[fate])
        for fate, operator in plan.state.fates
    ]


def _list(title: str, lines: Iterable[str], mark: str = "-") -> str:
    found = list(lines)
    return f"### {title}\n\n" + "\n".join(f"{mark} {escaped(line)}" for line in found) if found else ""


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    """External text as code in a table's cell, escaped so that it can't end the code, the cell or the row."""
    # A backslash before a pipe would end the escape of the pipe, and with it the cell.
    quoted = _PIPE.sub(r"\g<1>\g<1>\\|", text.replace("`", "'"))
    return f"`` {_LINE_ENDS.sub(' ', quoted)} ``"
