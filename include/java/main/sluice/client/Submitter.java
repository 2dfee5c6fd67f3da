package sluice.client;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.StreamReadConstraints;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * Submits compiled graphs and reads checkpoints, without Python and without the job's code: a JVM with Flink's
 * distribution starts in a fraction of the time that compiling takes.
 *
 * <p>Speaks the protocol of sluice/client/protocol.py on standard input and output: `load` and then `submit`, any number
 * of times; `inspect` and `find` at any time. It ends at once when standard input closes.
 */
public final class Submitter {
    /** Exit status after standard input has closed. */
    private static final int ORPHANED = 3;

    /** Jackson's default limit is 20 million characters, which a large graph exceeds. */
    private static final ObjectMapper JSON = new ObjectMapper(JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxStringLength(Integer.MAX_VALUE)
                    .build())
            .build());

    private final PrintStream answers;
    private String job = "";
    /** The graph to submit; null: there is none. */
    private Submission loaded;
    /** The newest graph that has a connection. */
    private Submission last;

    private Submitter(PrintStream answers) {
        this.answers = answers;
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        // Standard output carries the protocol: logs go to standard error.
        System.setOut(System.err);
        BlockingQueue<String> orders = new LinkedBlockingQueue<>();
        Thread reader = new Thread(() -> read(orders), "orders");
        reader.setDaemon(true);
        reader.start();
        Submitter submitter = new Submitter(answers);
        while (true) {
            submitter.carryOut(orders.take());
        }
    }

    private static void read(BlockingQueue<String> orders) {
        try (BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                orders.add(line);
            }
        } catch (IOException broken) {
            // The parent has ended.
        }
        // At once, whatever the main thread is doing: the parent no longer wants it.
        TemporaryFiles.delete();
        Runtime.getRuntime().halt(ORPHANED);
    }

    private void carryOut(String line) {
        int number = 0;
        String type = "";
        try {
            JsonNode order = JSON.readTree(line);
            number = order.path("number").asInt();
            JsonNode command = order.path("command");
            type = command.path("type").asText();
            switch (type) {
                case "load" -> answer(number, load(number, command));
                case "submit" -> answer(number, submit(command));
                case "inspect" -> answer(number, read(Checkpoints.inspect(command.get("path").asText())));
                case "find" -> answer(number, read(Checkpoints.find(texts(command.get("directories")))));
                default -> throw new IllegalArgumentException("expected load, submit, inspect or find, got " + type);
            }
        } catch (StepException error) {
            fail(number, error.kind, error.getMessage(), error.remedy, error.getCause());
        } catch (Exception | Error error) {
            boolean reads = type.equals("inspect") || type.equals("find");
            String words = Failures.words(error);
            fail(number, reads ? "state" : "internal", reads ? "the checkpoint can't be read: " + words : words, null, error);
        }
    }

    private JsonNode load(int number, JsonNode command) throws StepException {
        job = command.get("job").asText();
        loaded = null;
        long since = System.nanoTime();
        Map<String, String> options = new HashMap<>();
        command.get("options").fields().forEachRemaining(each -> options.put(each.getKey(), each.getValue().asText()));
        if (last != null) {
            last.close();
            last = null;
        }
        Submission submission;
        try {
            submission = new Submission(Submission.deserialize(command.get("content").asText()));
        } catch (Exception | LinkageError error) {
            throw new StepException("internal", job + ": the graph can't be read: " + Failures.words(error), null, error);
        }
        since = progress(number, "graph", since);
        try {
            submission.connect(options);
            last = submission;
            submission.warm();
        } catch (Exception error) {
            String remedy = "check that the cluster runs and that its address is right";
            throw new StepException("unreachable", job + ": " + Failures.words(error), remedy, error);
        }
        progress(number, "connect", since);
        loaded = submission;
        return message("loaded");
    }

    private JsonNode submit(JsonNode command) throws StepException {
        if (loaded == null) {
            throw new StepException("internal", "expected load, got submit", null, null);
        }
        Submission submission = loaded;
        // Each graph is submitted once: a second order would start the job twice.
        loaded = null;
        String wanted = command.get("flink_job_id").asText();
        String savepoint = command.get("savepoint").isNull() ? null : command.get("savepoint").asText();
        Integer release = command.get("release").isNull() ? null : (Integer) command.get("release").asInt();
        boolean allow = command.get("allow_non_restored_state").asBoolean();
        String answered;
        try {
            answered = submission.submit(wanted, savepoint, allow, release);
        } catch (Exception error) {
            throw new StepException("flink", job + ": " + Failures.words(error), null, error);
        }
        if (!answered.equals(wanted)) {
            String words = job + ": submitted as " + wanted + ", the cluster answered " + answered;
            throw new StepException("flink", words, null, null);
        }
        ObjectNode found = message("submitted");
        found.put("flink_job_id", answered);
        return found;
    }

    private long progress(int number, String step, long since) {
        long now = System.nanoTime();
        ObjectNode progress = message("progress");
        progress.put("step", step);
        progress.put("seconds", Math.round((now - since) / 1e6) / 1e3);
        answer(number, progress);
        return now;
    }

    private void fail(int number, String kind, String words, String remedy, Throwable error) {
        if (error != null) {
            error.printStackTrace();
        }
        ObjectNode failed = message("failed");
        failed.put("kind", kind);
        failed.put("message", words);
        failed.put("remedy", remedy);
        answer(number, failed);
    }

    private void answer(int number, JsonNode answer) {
        ObjectNode reply = JSON.createObjectNode();
        reply.put("number", number);
        reply.set("answer", answer);
        answers.println(reply);
    }

    private static ObjectNode message(String type) {
        ObjectNode message = JSON.createObjectNode();
        message.put("type", type);
        return message;
    }

    private static JsonNode read(String json) throws IOException {
        return JSON.readTree(json);
    }

    private static List<String> texts(JsonNode values) {
        List<String> found = new ArrayList<>();
        values.forEach(each -> found.add(each.asText()));
        return found;
    }

    /** A failure of one step, with its kind and next step for the parent. */
    private static final class StepException extends Exception {
        private final String kind;
        private final String remedy;

        StepException(String kind, String message, String remedy, Throwable cause) {
            super(message, cause);
            this.kind = kind;
            this.remedy = remedy;
        }
    }
}
