"""What the operators of a running job compute, by the plan that its cluster shows."""

from sluice.client.protocol import Graph, Operator, Vertex
from sluice.flink.job_plan import JobPlan
from sluice.state.operators import Described, compare_operator, operators_of
from sluice.state.running_operators import running_operators

GLOBAL = "GlobalWindowAggregate(groupBy=[user], select=[user, MAX(max$1) AS top, start('w$) AS s])"
LOCAL = "LocalWindowAggregate(groupBy=[user], select=[user, MAX(amount) AS max$1])"
CALC = "Calc(select=[user, amount], where=[(amount < 5)])"
PLAN = {
    "plan": {
        "jid": "j",
        "nodes": [
            {
                "id": "window",
                "parallelism": 1,
                "description": "[5]:GlobalWindowAggregate(groupBy=[user], select=[user, MAX(max$1) AS top, "
                "start(&#39;w$) AS s])<br/>:- out[7]: Writer<br/>:  +- out[7]: Committer<br/>+- late[8]: Writer<br/>",
                "inputs": [{"num": 0, "id": "source", "ship_strategy": "HASH"}],
            },
            {
                "id": "source",
                "description": "Source: orders<br/>+- [2]:Calc(select=[user, amount], where=[(amount &lt; 5)])<br/>"
                "   +- [3]:LocalWindowAggregate(groupBy=[user], select=[user, MAX(amount) AS max$1])<br/>",
            },
        ],
    }
}


def compiled(local=LOCAL):
    """The graph that is to take the state; a chain is listed from its ends."""
    texts = {"committer": "out: Committer", "writer": "out: Writer", "late": "late: Writer", "window": GLOBAL}
    before = {"local": local, "calc": CALC, "source": "Source: orders"}
    inputs = {"window": ("local",), "local": ("calc",), "calc": ("source",)}

    def vertex(id_, operators):
        return Vertex(
            id=id_,
            name=id_,
            parallelism=1,
            max_parallelism=1,
            operators=tuple(
                Operator(id=each, uid=None, name=each, description=text, inputs=inputs.get(each, ()))
                for each, text in operators.items()
            ),
        )

    return Graph(vertices=(vertex("window", texts), vertex("source", before)), slots=1, columns={}, digest="d")


def found(graph):
    return running_operators(JobPlan.model_validate(PLAN).plan.nodes, graph)


def test_running_operators_have_descriptions_and_inputs():
    operators = found(compiled())
    assert operators["window"] == Described(description=GLOBAL, inputs=("local",))
    assert operators["local"] == Described(description=LOCAL, inputs=("calc",))
    assert operators["calc"] == Described(description=CALC, inputs=("source",))
    assert operators["committer"] == Described(description="out: Committer", inputs=("writer",))
    assert operators["late"] == Described(description="late: Writer", inputs=("window",))


def test_operators_of_a_changed_job_differ_from_the_running_ones():
    graph = compiled()
    assert compare_operator("window", found(graph), operators_of(graph)).likeness == "same"
    other = compiled(LOCAL.replace("MAX(amount)", "MAX(price)"))
    assert compare_operator("window", found(other), operators_of(other)).likeness == "altered"


def test_only_first_operator_is_known_by_id_in_a_chain_of_another_length():
    graph = compiled()
    short = graph.vertices[1].model_copy(update={"operators": graph.vertices[1].operators[1:]})
    operators = found(graph.model_copy(update={"vertices": (graph.vertices[0], short)}))
    assert operators["source"].description == "Source: orders"
    assert "local" not in operators
    assert operators[operators["window"].inputs[0]].description == LOCAL
