package sluice.client;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.stream.Stream;

/** The directory of this JVM's temporary files, which sluice/client/process.py has made for it. */
final class TemporaryFiles {
    /** How the names of such directories begin. */
    private static final String PREFIX = "sluice-client-";

    private TemporaryFiles() {}

    /** Deletes the directory. The parent does that, too, unless it was killed. */
    static void delete() {
        Path directory = Path.of(System.getProperty("java.io.tmpdir"));
        if (!directory.getFileName().toString().startsWith(PREFIX)) {
            return;
        }
        try (Stream<Path> files = Files.walk(directory)) {
            files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
        } catch (IOException | UncheckedIOException gone) {
            // The parent deletes it at the same time.
        }
    }
}
