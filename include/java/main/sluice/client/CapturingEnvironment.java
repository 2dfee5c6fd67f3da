package sluice.client;

import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.api.common.JobID;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.api.dag.Pipeline;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.DeploymentOptions;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.core.execution.PipelineExecutor;
import org.apache.flink.core.execution.PipelineExecutorFactory;
import org.apache.flink.core.execution.PipelineExecutorServiceLoader;
import org.apache.flink.core.execution.SavepointFormatType;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.graph.StreamGraph;

/**
 * The execution environment of a pipeline while it is compiled: execute() captures the StreamGraph and runs nothing.
 * StreamExecutionEnvironment.getExecutionEnvironment() returns instances of this class.
 *
 * <p>Each execution is reported to {@link Executions}, which decides whether it is accepted; its caller then gets the
 * client of a job that runs. The graph that is used in the end comes from one execution of all inserts together, after
 * {@link #capture}, or from {@link #getStreamGraph} if the environment's streams have sinks as well.
 */
public final class CapturingEnvironment extends StreamExecutionEnvironment {
    /** The first one of the context: the one that the pipeline gets. */
    private static CapturingEnvironment first;

    private boolean isFinal;
    private StreamGraph captured;

    private CapturingEnvironment(PipelineExecutorServiceLoader executors, Configuration configuration) {
        super(executors, configuration, Thread.currentThread().getContextClassLoader());
    }

    /** Makes every environment of the context a capturing one from now on. */
    public static synchronized void install() {
        first = null;
        initializeContextEnvironment(CapturingEnvironment::create);
    }

    private static synchronized CapturingEnvironment create(Configuration configuration) {
        Executors executors = new Executors();
        Configuration options = new Configuration(configuration);
        if (!options.contains(DeploymentOptions.TARGET)) {
            // Without one, Flink doesn't ask for an executor.
            options.set(DeploymentOptions.TARGET, "remote");
        }
        executors.environment = new CapturingEnvironment(executors, options);
        if (first == null) {
            first = executors.environment;
        }
        return executors.environment;
    }

    /** Takes the next execution as that of the whole job. */
    public void capture() {
        isFinal = true;
    }

    /** The graph of the execution after {@link #capture}. */
    public StreamGraph captured() {
        return captured;
    }

    /** Keeps the transformations, which are part of the whole job. */
    @Override
    public StreamGraph getStreamGraph(boolean clearTransformations) {
        return super.getStreamGraph(false);
    }

    private CompletableFuture<JobClient> execute(Pipeline pipeline) {
        if (isFinal) {
            captured = (StreamGraph) pipeline;
        } else {
            Executions.report(this == first);
        }
        return CompletableFuture.completedFuture(new Captured());
    }

    /** Gives Flink the executor of one environment. */
    private static final class Executors implements PipelineExecutorServiceLoader, PipelineExecutorFactory {
        private CapturingEnvironment environment;

        @Override
        public PipelineExecutorFactory getExecutorFactory(Configuration configuration) {
            return this;
        }

        @Override
        public Stream<String> getExecutorNames() {
            return Stream.of(getName());
        }

        @Override
        public String getName() {
            return "sluice-capturing";
        }

        @Override
        public boolean isCompatibleWith(Configuration configuration) {
            return true;
        }

        @Override
        public PipelineExecutor getExecutor(Configuration configuration) {
            return (pipeline, options, loader) -> environment.execute(pipeline);
        }
    }

    /** The JobClient of a captured execution: the job's status is RUNNING, and its result is available at once. */
    private static final class Captured implements JobClient {
        private final JobID id = new JobID();

        @Override
        public JobID getJobID() {
            return id;
        }

        @Override
        public CompletableFuture<JobStatus> getJobStatus() {
            return CompletableFuture.completedFuture(JobStatus.RUNNING);
        }

        @Override
        public CompletableFuture<Void> cancel() {
            return refused();
        }

        @Override
        public CompletableFuture<String> stopWithSavepoint(
                boolean advance, String directory, SavepointFormatType format) {
            return refused();
        }

        @Override
        public CompletableFuture<String> triggerSavepoint(String directory, SavepointFormatType format) {
            return refused();
        }

        private static <T> CompletableFuture<T> refused() {
            return CompletableFuture.failedFuture(new UnsupportedOperationException(
                    "the job is compiled, and was not submitted: it can't be cancelled and has no savepoint"));
        }

        @Override
        public CompletableFuture<Map<String, Object>> getAccumulators() {
            return CompletableFuture.completedFuture(Map.of());
        }

        @Override
        public CompletableFuture<JobExecutionResult> getJobExecutionResult() {
            return CompletableFuture.completedFuture(new JobExecutionResult(id, 0, Map.of()));
        }
    }
}
