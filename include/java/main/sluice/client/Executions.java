package sluice.client;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.PipelineExecutor;
import org.apache.flink.core.execution.PipelineExecutorFactory;

/**
 * Reports the executions in the client's JVM to a listener, which accepts or refuses them.
 *
 * <p>Before an execution in an environment that isn't a {@link CapturingEnvironment}, e.g. a local or a remote one, Flink
 * asks each PipelineExecutorFactory that ServiceLoader finds. Once a listener is set, this factory refuses it. Elsewhere
 * (on a cluster, in a test that runs a pipeline) no listener is set, and Flink's own factories are used.
 */
public final class Executions implements PipelineExecutorFactory {
    /** Is called for each attempt, while the calling thread waits. */
    public interface Listener {
        /**
         * @param own whether it is an execution of the environment that the pipeline gets
         * @return whether the execution is accepted
         */
        boolean accepts(boolean own);
    }

    private static volatile Listener listener;

    /** Sets who decides on every execution from now on. */
    public static void listen(Listener decides) {
        listener = decides;
    }

    static void report(boolean own) {
        if (!listener.accepts(own)) {
            throw refused();
        }
    }

    private static RuntimeException refused() {
        return new UnsupportedOperationException("Sluice executes nothing while it compiles a pipeline");
    }

    @Override
    public String getName() {
        return "sluice-refused";
    }

    @Override
    public boolean isCompatibleWith(Configuration configuration) {
        Listener decides = listener;
        if (decides == null) {
            return false;
        }
        decides.accepts(false);
        throw refused();
    }

    @Override
    public PipelineExecutor getExecutor(Configuration configuration) {
        throw refused();
    }
}
