package sluice.client;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.PipelineExecutor;
import org.apache.flink.core.execution.PipelineExecutorFactory;

/**
 * Refuses all executions in the client's JVM. Before every execution, in any environment that a pipeline creates, Flink
 * asks each PipelineExecutorFactory that ServiceLoader finds. Once a listener is set, this factory reports the execution
 * to it and refuses it.
 *
 * <p>Elsewhere (on a cluster, in a test that runs a pipeline) no listener is set, and Flink's own factories are used.
 */
public final class Executions implements PipelineExecutorFactory {
    /** Is called for each attempt, while the calling thread waits. */
    public interface Listener {
        void attempted();
    }

    private static volatile Listener listener;

    /** Refuse every execution from now on. */
    public static void refuse(Listener attempts) {
        listener = attempts;
    }

    @Override
    public String getName() {
        return "sluice-refused";
    }

    @Override
    public boolean isCompatibleWith(Configuration configuration) {
        Listener attempts = listener;
        if (attempts == null) {
            return false;
        }
        attempts.attempted();
        throw new UnsupportedOperationException("a pipeline must not execute Flink jobs while Sluice compiles it");
    }

    @Override
    public PipelineExecutor getExecutor(Configuration configuration) {
        throw new UnsupportedOperationException("a pipeline must not execute Flink jobs while Sluice compiles it");
    }
}
