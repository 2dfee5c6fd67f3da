package sluice.client;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.GlobalConfiguration;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FileStatus;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.plugin.PluginUtils;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.OperatorStateHandle;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * Reads the metadata of checkpoints and savepoints with Flink's own code, from any file system that Flink supports.
 * Answers are the JSON objects of the messages `State` and `Found` in sluice/client/protocol.py.
 */
public final class Checkpoints {
    private static final String METADATA = "_metadata";
    /** Flink's name of the state in which a source reader keeps its splits. */
    private static final String SPLITS = "SourceReaderState";

    private static final ObjectMapper JSON = new ObjectMapper();
    private static boolean initialized;

    private Checkpoints() {}

    /** The operators with state, and the Kafka offsets of the sources. */
    public static String inspect(String path) throws IOException {
        CheckpointMetadata metadata = load(path);
        ObjectNode state = JSON.createObjectNode();
        state.put("type", "state");
        state.put("checkpoint_id", metadata.getCheckpointId());
        ArrayNode operators = state.putArray("operators");
        Map<String, Map<Integer, Long>> positions = new TreeMap<>();
        for (OperatorState operator : metadata.getOperatorStates()) {
            if (!hasState(operator)) {
                continue;
            }
            ObjectNode found = operators.addObject();
            found.put("id", operator.getOperatorID().toHexString());
            found.put("name", operator.getOperatorName().orElse(null));
            found.put("parallelism", operator.getParallelism());
            found.put("max_parallelism", operator.getMaxParallelism());
            found.put("size", operator.getStateSize());
            for (Split split : splits(operator)) {
                // If several sources read a partition, the smallest offset counts.
                positions
                        .computeIfAbsent(split.topic, topic -> new TreeMap<>())
                        .merge(split.partition, split.offset, Math::min);
            }
        }
        state.set("positions", JSON.valueToTree(positions));
        return state.toString();
    }

    /** The complete checkpoint or savepoint with the highest id among the direct children of the directories. */
    public static String find(List<String> directories) throws IOException {
        String newest = null;
        long highest = -1;
        for (String directory : directories) {
            for (String path : complete(directory)) {
                long number = load(path).getCheckpointId();
                if (newest == null || number > highest) {
                    newest = path;
                    highest = number;
                }
            }
        }
        ObjectNode found = JSON.createObjectNode();
        found.put("type", "found");
        found.put("path", newest);
        found.put("checkpoint_id", newest == null ? null : (Long) highest);
        return found.toString();
    }

    /** Initializes file systems as Flink's own client does, from FLINK_PLUGINS_DIR and FLINK_CONF_DIR. */
    private static synchronized void initialize() {
        if (!initialized) {
            Configuration configuration = GlobalConfiguration.loadConfiguration();
            FileSystem.initialize(configuration, PluginUtils.createPluginManagerFromRootFolder(configuration));
            initialized = true;
        }
    }

    private static List<String> complete(String directory) throws IOException {
        initialize();
        Path base = new Path(directory);
        FileSystem files = base.getFileSystem();
        List<String> found = new ArrayList<>();
        FileStatus[] entries = files.exists(base) ? files.listStatus(base) : null;
        for (FileStatus entry : entries == null ? new FileStatus[0] : entries) {
            if (entry.isDir() && files.exists(new Path(entry.getPath(), METADATA))) {
                found.add(entry.getPath().toString());
            }
        }
        return found;
    }

    private static CheckpointMetadata load(String path) throws IOException {
        initialize();
        try (DataInputStream stream = new DataInputStream(
                AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(path)
                        .getMetadataHandle()
                        .openInputStream())) {
            ClassLoader loader = Thread.currentThread().getContextClassLoader();
            return org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(stream, loader, path);
        }
    }

    /** Whether an operator has state, by Flink's own rule for state that a restore may drop. */
    private static boolean hasState(OperatorState operator) {
        return operator.getStates().stream().anyMatch(OperatorSubtaskState::hasState);
    }

    /** The Kafka splits in an operator's state; empty for other operators. */
    private static List<Split> splits(OperatorState operator) throws IOException {
        List<Split> found = new ArrayList<>();
        for (OperatorSubtaskState subtask : operator.getStates()) {
            for (OperatorStateHandle handle : subtask.getManagedOperatorState()) {
                OperatorStateHandle.StateMetaInfo offsets =
                        handle.getStateNameToPartitionOffsets().get(SPLITS);
                if (offsets == null) {
                    continue;
                }
                try (FSDataInputStream stream = handle.openInputStream()) {
                    for (long offset : offsets.getOffsets()) {
                        stream.seek(offset);
                        // An element of a list state of byte arrays: its length, then its bytes.
                        DataInputStream data = new DataInputStream(stream);
                        Split split = Split.of(data.readNBytes(data.readInt()));
                        if (split != null) {
                            found.add(split);
                        }
                    }
                }
            }
        }
        return found;
    }

    /** The position of a Kafka source in one partition. */
    private static final class Split {
        /** Version and length of the envelope around a serialized split. */
        private static final int ENVELOPE = 8;

        private final String topic;
        private final int partition;
        private final long offset;

        private Split(String topic, int partition, long offset) {
            this.topic = topic;
            this.partition = partition;
            this.offset = offset;
        }

        /**
         * Parses a serialized KafkaPartitionSplit: envelope (version, length), topic, partition, start and end offset.
         * Null if the element is something else.
         */
        static Split of(byte[] element) throws IOException {
            DataInputStream data = new DataInputStream(new ByteArrayInputStream(element));
            if (element.length < ENVELOPE) {
                return null;
            }
            int version = data.readInt();
            int length = Math.min(data.readInt(), element.length - ENVELOPE);
            if (version != 0 || length < 2) {
                return null;
            }
            int size = data.readUnsignedShort();
            if (length != 2 + size + Integer.BYTES + Long.BYTES + Long.BYTES) {
                return null;
            }
            String topic = new String(data.readNBytes(size), StandardCharsets.UTF_8);
            return new Split(topic, data.readInt(), data.readLong());
        }
    }
}
