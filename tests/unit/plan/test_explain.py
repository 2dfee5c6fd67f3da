"""A plan as text and as Markdown."""

import re

import pytest
from markdown_it import MarkdownIt

from sluice.plan.explain import explain
from sluice.plan.markdown import escaped, markdown
from sluice.plan.model import Change, Plan, TopicAction
from sluice.state.change import StateChange, StateOfOperator


def test_each_change_is_printed_with_its_category_and_reason():
    change = Change(path="parallelism", old=1, new=2, category="stateless", why="state is spread")
    plan = Plan(job="counts", action="redeploy", category="state_compatible", fingerprint="f", changes=(change,))
    assert "  parallelism: 1 -> 2 (stateless: state is spread)" in explain(plan)


def test_plan_says_why_it_needs_an_approval():
    plan = Plan(job="counts", action="redeploy", category="state_compatible", fingerprint="f", needs_approval=True)
    stuck = plan.model_copy(update={"no_way_back": "no way back to release 1"})
    assert "  needs an approval: there is no way back" in explain(stuck)
    assert "There is **no way back**." in markdown(stuck)
    assert "loses state" not in markdown(stuck)
    lossy = plan.model_copy(update={"category": "state_breaking"})
    assert "  needs an approval: it loses state" in explain(lossy)
    both = stuck.model_copy(update={"category": "state_breaking"})
    assert "  needs an approval: it loses state and there is no way back" in explain(both)
    assert "This **loses state**. There is **no way back**." in markdown(both)


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "[approve](https://elsewhere.example)",
    "[approve]: https://elsewhere.example",
    "![x](https://elsewhere.example/x.png)",
    "**kept** *kept* _kept_ __kept__ ~~kept~~ `kept`",
    "# Approved\n\n- nothing is lost",
    "1. nothing is lost",
    "- nothing is lost",
    "a | b \\| c",
    "&lt;b&gt; <!-- hidden -->",
    "<https://elsewhere.example>",
    "> quoted",
    "```\ncode\n```",
    "trailing \\",
    "line\u2028end\r\nand\x0bmore",
)


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("before", ["", "- ", "1. ", "Reason given: "])
def test_escaped_text_gives_no_markup(text, before):
    tags = set(re.findall(r"<(\w+)", rendered(before + escaped(text))))
    assert tags <= {"p", "ul", "ol", "li"}
    assert len(re.findall("<li>", rendered(before + escaped(text)))) == before.count(".") + before.count("-")


def test_plan_in_markdown_escapes_text_of_jobs():
    """Settings, exceptions, operators and topics, in lists and cells."""
    change = Change(path="config.text", old=HOSTILE[0], new=" ".join(HOSTILE), category="stateless", why=HOSTILE[1])
    plan = Plan(
        job="counts",
        action="redeploy",
        category="state_breaking",
        fingerprint="f",
        reasons=HOSTILE,
        warnings=HOSTILE,
        changes=(change,),
        state=StateChange(dropped=(StateOfOperator(id="a", name=HOSTILE[3], size=1),)),
        topics=(TopicAction(topic="t", action="create", words=HOSTILE[4]),),
    )
    html = rendered(markdown(plan))
    found = set(re.findall(r"<(\w+)", html)) - {"p", "strong", "ul", "li", "h3", "table", "thead", "tbody", "tr"}
    assert found - {"th", "td"} == set()
    assert html.count("<tr>") == 4
    assert html.count("<strong>") == 2  # the job, and what is lost


def test_pipes_in_an_operators_literals_do_not_end_a_table_cell():
    """GitHub's tables, as Airflow shows them, read two backslashes as one, and then the pipe ends the cell."""
    literal = "Calc(where=[REGEXP(a, 'x\\|y\\\\|z|`<b>')])"
    altered = StateOfOperator(id="a", name="window", size=1, old=literal, new=literal)
    state = StateChange(altered=(altered,))
    plan = Plan(job="counts", action="redeploy", category="none", fingerprint="f", state=state)
    (row,) = [line for line in markdown(plan).splitlines() if "Calc" in line]
    cells = re.findall(r"(?:\\.|[^|\\])+", row.strip("| "))
    assert len(cells) == 3, cells
    assert [cell.count("``") for cell in cells] == [0, 2, 2]


def test_names_and_figures_stay_readable_in_markdown():
    for text in ("window_start", "GlobalWindowAggregate[5]", "1.5 KiB", "it's 2 (of 3): a-b, c.d", "2026-01-31"):
        assert escaped(text) == text


def test_escaped_url_is_not_a_link_in_githubs_markdown():
    for text in ("see https://elsewhere.example", "HTTP://x", "www.elsewhere.example"):
        assert not re.search(r"(?i)(https?://|www\.)\w", escaped(text)), text


def test_a_plan_shows_its_warnings():
    plan = Plan(job="counts", action="none", category="none", fingerprint="f", warnings=("the login is readable",))
    assert "  warning: the login is readable" in explain(plan)
    assert "### Warnings\n\n- the login is readable" in markdown(plan)


def test_a_plan_warns_of_a_login_that_is_sent_unencrypted(simulated):
    file = simulated.project.settings.root / "deployments" / "test.yaml"
    assert simulated.plan().plan.warnings == ()
    file.write_text(file.read_text().replace("http://flink", "http://ann:secret@flink"))
    [warning] = simulated.plan().plan.warnings
    assert warning.startswith("the login of the Flink cluster is sent unencrypted to http://flink")
    assert "secret" not in warning


def test_changed_operators_are_shown_with_old_and_new_computation():
    old, new = "Aggregate(groupBy=[a, b])", "Aggregate(groupBy=[b, a])"
    other = StateOfOperator(id="o", name="Aggregate", size=2048, old=old, new=new)
    mixed = StateOfOperator(id="m", name="Join", size=0, old="Calc(where=[a | b])", new="Calc(where=[a])")
    plan = Plan(
        job="counts",
        action="redeploy",
        category="state_breaking",
        fingerprint="f",
        needs_approval=True,
        state=StateChange(altered=(other,), kept=(mixed,)),
    )
    lines = explain(plan)
    begin = lines.index("  state altered: Aggregate, 2.0 KiB")
    assert lines[begin + 1 : begin + 3] == [f"    old: {old}", f"    new: {new}"]
    assert "  state kept, input changed: Join" in lines
    assert f"| Aggregate | `` {old} `` | `` {new} `` |" in markdown(plan)
    assert "| Join | `` Calc(where=[a \\| b]) `` |" in markdown(plan)


def test_plan_names_what_the_pipeline_writes_besides_its_topics(simulated):
    simulated.compiler.extra_sinks = ("look (DataStream.print, flink_jobs/counts.py:9)",)
    plan = simulated.plan().plan
    assert plan.extra_sinks == simulated.compiler.extra_sinks
    [warning] = plan.warnings
    assert warning.startswith("besides its topics, the job writes to look (DataStream.print, flink_jobs/counts.py:9): ")
