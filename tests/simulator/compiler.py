"""A client process in memory: compiles releases to graphs, reads checkpoints, and submits to a simulated cluster."""

from sluice.client.protocol import Found, Graph, Operator, Ready, Vertex
from sluice.errors import StateError
from sluice.release.jars import stored_jars
from sluice.release.versions import PIPELINE


def graph(*operators, digest="d", computes="", parallelism=1):
    """A compiled graph: a source and these operators, which all compute the same."""
    compiled = tuple(
        Operator(id=id_, uid=None, name=id_, description=computes) for id_ in ("Source: lines", *operators)
    )
    vertex = Vertex(id="v", name="v", parallelism=parallelism, max_parallelism=-1, operators=compiled)
    return Graph(vertices=(vertex,), slots=1, columns={}, digest=digest)


class SimulatedCompiler:
    """Has the methods of `sluice.release.compiler.Compiler`. One serves all operations of a project.

    Args:
        settings: The project's settings.
        cluster: The cluster.

    Attributes:
        compiles_to: The operators beside the source, by the value of the setting `least`; others: a window.
        computes: What the operators compute, by the value of the setting `least`; others: not known.
        parallelism: The parallelism of the compiled graph.
        extra_sinks: What the pipeline writes besides its topics.
        prepared: Each compiled release: its settings, and whether offsets are carried over.
        jars: The URLs of the jars of the last compiled release.
        during_compile: Called once, while a release is compiled.
        during_submit: Called once with the Flink job's id, before it is submitted; True: the submission has arrived.
        inspect_errors: The errors of the next reads of a checkpoint; the last one first.
    """

    def __init__(self, settings, cluster):
        self._settings, self._cluster, self._name = settings, cluster, None
        self.compiles_to, self.computes, self.parallelism = {}, {}, 1
        self.prepared, self.jars, self.extra_sinks = [], (), ()
        self.during_compile = self.during_submit = None
        self.inspect_errors = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def prepare(self, target, *, carry_over=False, part=None):
        self._name = part.name if part else None
        action, self.during_compile = self.during_compile, None
        if action:
            action()
        self.jars = stored_jars(target.resolved.get("jars") or {}, self._settings.root, self._settings.artifacts)
        config = target.resolved["config"]
        self.prepared.append((config, carry_over))
        operators = self.compiles_to.get(config["least"], ("Window",))
        digest, computes = str((config, target.resolved["options"])), self.computes.get(config["least"], "")
        compiled = graph(*operators, digest=digest, computes=computes, parallelism=self.parallelism)
        return Ready(graph=compiled.model_copy(update={"extra_sinks": self.extra_sinks}))

    generated_code = PIPELINE

    def load(self):
        pass

    def inspect(self, path):
        if self.inspect_errors:
            raise self.inspect_errors.pop()
        if path not in self._cluster.snapshots:
            raise StateError(f"{path} does not exist")
        return self._cluster.snapshots[path]

    def find(self, *directories):
        found = [path for path in self._cluster.snapshots if path.rpartition("/")[0] in directories]
        return Found(path=found[-1] if found else None, checkpoint_id=1 if found else None)

    def submit(self, order):
        action, self.during_submit = self.during_submit, None
        if action and action(order.flink_job_id):
            return
        self._cluster.submit(order, self._name)

    def close(self):
        pass
