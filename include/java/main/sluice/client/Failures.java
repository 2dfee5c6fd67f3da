package sluice.client;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;

/** Turns exceptions into messages for a person. */
public final class Failures {
    /** The highest number of causes in a message. */
    private static final int CAUSES = 5;
    /** The highest number of lines in a message; the log has all of them. */
    private static final int LINES = 5;
    /** A line of a stack trace, as sluice/client/failure.py has it. */
    private static final Pattern TRACE = Pattern.compile(
            "\\s+at .*\\(.*\\)\\s*|\\s+\\.\\.\\. \\d+ (more|common frames omitted)\\s*|\\s+Suppressed: .*");

    /**
     * What Flink's REST client says if the cluster closes a connection, as after a failed TLS handshake, before the
     * client has begun to send its request. Whether it says this or the reason is a race between two of its threads.
     */
    private static final String NO_REASON = "Netty pipeline was not properly initialized";

    private static final int ATTEMPTS = 10;

    private Failures() {}

    /**
     * The result of a request to the cluster that changes nothing. It is repeated if its error hides the reason, at most
     * ten times.
     */
    static <T> T repeatForReason(Callable<T> request) throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                return request.call();
            } catch (Exception error) {
                if (attempt == ATTEMPTS || !words(error).contains(NO_REASON)) {
                    throw error;
                }
            }
        }
    }

    /** The messages of an exception and its causes, outermost first, without repetitions and stack traces. */
    public static String words(Throwable error) {
        List<String> words = new ArrayList<>();
        for (Throwable cause = error; cause != null && words.size() < CAUSES; cause = cause.getCause()) {
            String message = cause.getMessage();
            String name = cause.getClass().getSimpleName();
            boolean isClass = cause instanceof ClassNotFoundException || cause instanceof NoClassDefFoundError;
            // The SQL parser appends a list of all tokens that it would have accepted.
            String first = message == null ? "" : message.split("\nWas expecting", 2)[0].strip();
            String text = first.isEmpty() ? name : first;
            if (isClass && !text.equals(name)) {
                text = name + " " + text;
            }
            String found = text;
            if (words.stream().noneMatch(earlier -> earlier.contains(found))) {
                words.add(found);
            }
        }
        return firstLines(String.join(": ", words));
    }

    private static String firstLines(String text) {
        List<String> lines = new ArrayList<>(text.lines()
                .filter(line -> !TRACE.matcher(line).matches())
                .toList());
        if (lines.size() > LINES) {
            lines.subList(LINES, lines.size()).clear();
            lines.add("(the log has the rest)");
        }
        return String.join("\n", lines);
    }
}
