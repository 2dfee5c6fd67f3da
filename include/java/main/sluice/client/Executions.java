package sluice.client;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.PipelineExecutor;
import org.apache.flink.core.execution.PipelineExecutorFactory;

/**
 * The one place through which every execution in the client's JVM passes: Flink asks each PipelineExecutorFactory that
 * ServiceLoader finds before it runs anything, for every environment, also for local and remote ones that a pipeline
 * creates. From the moment that a listener is set, an execution is reported to it and refused.
 *
 * <p>Elsewhere (on a cluster, in a test that runs a pipeline) no listener is set, and Flink's own factories decide.
 */
public final class Executions implements PipelineExecutorFactory {
    /** Takes each attempt while the calling thread waits in it. */
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
        throw new UnsupportedOperationException("a pipeline runs nothing while Sluice compiles it");
    }

    @Override
    public PipelineExecutor getExecutor(Configuration configuration) {
        throw new UnsupportedOperationException("a pipeline runs nothing while Sluice compiles it");
    }
}
