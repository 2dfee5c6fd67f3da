package sluice.client;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.api.common.ExecutionConfig;
import org.apache.flink.api.common.JobID;
import org.apache.flink.client.deployment.StandaloneClusterId;
import org.apache.flink.client.program.rest.RestClusterClient;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.jobgraph.JobGraph;
import org.apache.flink.runtime.jobgraph.SavepointRestoreSettings;
import org.apache.flink.util.InstantiationUtil;

/** A compiled graph, and a client of the cluster that it will be submitted to. */
public final class Submission {
    /** The global job parameter with the number of the submitted release. */
    private static final String RELEASE = "sluice.release";

    private final JobGraph graph;
    private final ExecutionConfig config;
    private RestClusterClient<StandaloneClusterId> client;

    /**
     * @param graph The JobGraph. A file or class that it needs and that this JVM doesn't have is an error.
     */
    public Submission(JobGraph graph) throws IOException, ClassNotFoundException {
        this.graph = graph;
        requireFiles();
        // Now, while the running job is untouched: the configuration may name classes that this JVM doesn't have.
        config = graph.getSerializedExecutionConfig().deserializeValue(loader());
    }

    /**
     * Makes a client of the cluster.
     *
     * @param options The options of Flink's REST client: address and TLS. Files that they name are read here.
     */
    public void connect(Map<String, String> options) throws Exception {
        Configuration configuration = new Configuration();
        // Few retries here: the operation itself retries, and knows from the journal what was done before.
        configuration.setString("rest.retry.max-attempts", "3");
        options.forEach(configuration::setString);
        client = new RestClusterClient<>(configuration, StandaloneClusterId.getInstance());
    }

    /** The graph, serialized by Java, in base64. */
    public static String serialize(JobGraph graph) throws IOException {
        return Base64.getEncoder().encodeToString(InstantiationUtil.serializeObject(graph));
    }

    /** The graph of `serialize`. Its origin must be certain. */
    public static JobGraph deserialize(String content) throws IOException, ClassNotFoundException {
        byte[] bytes = Base64.getDecoder().decode(content);
        return InstantiationUtil.deserializeObject(bytes, loader());
    }

    /** Closes the client of the cluster. */
    public void close() {
        client.close();
    }

    /** Sends a request to the cluster, so that the submission can use the open connection. */
    public void warm() throws Exception {
        Failures.repeatForReason(() -> client.listJobs().get());
    }

    /**
     * Submits the graph; returns the Flink job id that the cluster answered.
     *
     * @param flinkJobId The Flink job id to use.
     * @param savepoint The state to start from; null: none.
     * @param allowNonRestored State that no operator takes over is dropped.
     * @param release The release's number, added to the global job parameters, which the REST API returns; null: none.
     */
    public String submit(String flinkJobId, String savepoint, boolean allowNonRestored, Integer release)
            throws Exception {
        requireFiles();
        graph.setJobID(JobID.fromHexString(flinkJobId));
        if (release != null) {
            nameRelease(release);
        }
        if (savepoint != null) {
            graph.setSavepointRestoreSettings(SavepointRestoreSettings.forPath(savepoint, allowNonRestored));
        }
        return client.submitJob(graph).get().toString();
    }

    /** Flink's REST client would wait for ever for a file that it can't read. */
    private void requireFiles() throws IOException {
        List<Path> files = new ArrayList<>(graph.getUserJars());
        graph.getUserArtifacts().values().forEach(each -> files.add(new Path(each.filePath)));
        for (Path file : files) {
            String scheme = file.toUri().getScheme();
            boolean isLocal = scheme == null || scheme.equals("file");
            if (isLocal && !Files.isReadable(java.nio.file.Path.of(file.toUri().getPath()))) {
                throw new NoSuchFileException(file + " can't be read, which the job needs");
            }
        }
    }

    private static ClassLoader loader() {
        return Thread.currentThread().getContextClassLoader();
    }

    private void nameRelease(int release) throws IOException {
        // Copied into a new map, since the one of the parameters is immutable.
        Map<String, String> parameters = new HashMap<>(config.getGlobalJobParameters().toMap());
        parameters.put(RELEASE, Integer.toString(release));
        config.setGlobalJobParameters(Configuration.fromMap(parameters));
        graph.setExecutionConfig(config);
    }
}
