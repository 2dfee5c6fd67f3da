package sluice.client;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.flink.api.python.shaded.py4j.CallbackClient;
import org.apache.flink.api.python.shaded.py4j.GatewayServer;

/**
 * PyFlink's gateway with a Py4J token, which both directions require.
 *
 * <p>PyFlink's own PythonGatewayServer executes commands from any process that connects to its port. This one reads a
 * token from the first line of standard input and closes connections without it. It ends when standard input closes.
 *
 * <p>Argument: the file to which it writes its port atomically.
 */
public final class Gateway {
    private Gateway() {}

    public static void main(String[] arguments) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String token = input.readLine();
        if (token == null || token.isEmpty()) {
            System.err.println("expected the token as the first line of standard input");
            System.exit(2);
        }
        InetAddress loopback = InetAddress.getByName("127.0.0.1");
        GatewayServer server =
                new GatewayServer.GatewayServerBuilder(new ConcurrentHashMap<String, Object>())
                        .javaAddress(loopback)
                        .javaPort(0)
                        // PyFlink replaces this port by the one of its callback server, and keeps the token.
                        .callbackClient(new CallbackClient(0, loopback, token))
                        .authToken(token)
                        .build();
        int status = 0;
        try {
            server.start(true);
            register(server);
            report(server.getListeningPort(), Path.of(arguments[0]));
            waitForEnd(input);
        } catch (Exception error) {
            // For instance, the client has ended during the start, and its directory was deleted.
            error.printStackTrace();
            status = 1;
        }
        TemporaryFiles.delete();
        // Otherwise the server's threads would keep the JVM running.
        System.exit(status);
    }

    /** Sets the gateway in Flink's own class, which isn't public: Flink finds Python functions in SQL through it. */
    private static void register(GatewayServer server) throws ReflectiveOperationException {
        Class<?> utils = Class.forName("org.apache.flink.client.python.PythonEnvUtils");
        Method set = utils.getDeclaredMethod("setGatewayServer", GatewayServer.class);
        set.setAccessible(true);
        set.invoke(null, server);
    }

    private static void report(int port, Path file) throws IOException {
        Path written = file.resolveSibling(file.getFileName() + ".new");
        Files.writeString(written, Integer.toString(port));
        Files.move(written, file, StandardCopyOption.ATOMIC_MOVE);
    }

    private static void waitForEnd(BufferedReader input) {
        try {
            while (input.read() != -1) {
                // Wait for the end of the stream only.
            }
        } catch (IOException broken) {
            // The parent has ended.
        }
    }
}
