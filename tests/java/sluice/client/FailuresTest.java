package sluice.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.junit.jupiter.api.Test;

class FailuresTest {
    private static final String HIDDEN = "Netty pipeline was not properly initialized.";

    @Test
    void messagesOfCausesAreJoinedWithoutRepetitions() {
        Exception inner = new IllegalStateException("the cause");
        Exception middle = new IOException("outer: the cause", inner);
        assertEquals("first: outer: the cause", Failures.words(new RuntimeException("first", middle)));
        assertEquals("NullPointerException", Failures.words(new NullPointerException()));
        assertEquals("ClassNotFoundException a.B", Failures.words(new ClassNotFoundException("a.B")));
    }

    @Test
    void tokensThatTheParserWouldHaveAcceptedAreLeftOut() {
        String text = "SQL parse failed.\nWas expecting one of:\n    <EOF>";
        assertEquals("SQL parse failed.", Failures.words(new IOException(text)));
    }

    @Test
    void stackTracesInMessagesAreLeftOut() {
        String text = "refused:\njava.io.IOException: no file\n\tat a.B.c(B.java:7)\n\t... 12 more\nEnd of it";
        assertEquals("refused:\njava.io.IOException: no file\nEnd of it", Failures.words(new IOException(text)));
        String lines = "line\n".repeat(40);
        assertEquals("line\n".repeat(5) + "(the log has the rest)", Failures.words(new IOException(lines)));
    }

    @Test
    void requestWhoseErrorHidesTheReasonIsRepeated() {
        Exception hidden = new IOException("Could not write request.", new IllegalStateException(HIDDEN));
        Exception reason = new IOException("unable to find valid certification path");
        Deque<Exception> errors = new ArrayDeque<>(List.of(hidden, hidden, reason));
        Exception raised = assertThrows(IOException.class, () -> Failures.repeatForReason(() -> {
            throw errors.remove();
        }));
        assertSame(reason, raised);
        assertEquals(0, errors.size());
    }

    @Test
    void requestWhoseErrorAlwaysHidesTheReasonIsGivenUp() {
        int[] requests = {0};
        assertThrows(IllegalStateException.class, () -> Failures.repeatForReason(() -> {
            requests[0]++;
            throw new IllegalStateException(HIDDEN);
        }));
        assertEquals(10, requests[0]);
    }
}
