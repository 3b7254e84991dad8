package waypost.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.List;
import java.util.stream.Stream;

/**
 * The checkpoints and savepoints of a job: {@code STATE_DIR/JOB}. The file {@code statements.sql} there says by which
 * statements they were written; others refuse them, because rows that are decided would stay as the old ones said.
 */
final class State {
    private State() {}

    static Path directory(Settings settings, String job) {
        return Path.of(settings.get("STATE_DIR")).toAbsolutePath().resolve(job);
    }

    /** The newest complete checkpoint or savepoint of the job; null if there is none. */
    static Path newest(Settings settings, Job job) throws IOException, Settings.Mistake {
        Path directory = directory(settings, job.name);
        Files.createDirectories(directory);
        Path statements = directory.resolve("statements.sql");
        Path newest = null;
        FileTime newestAt = null;
        for (Path metadata : metadataFiles(directory)) {
            FileTime at = Files.getLastModifiedTime(metadata);
            if (newestAt == null || at.compareTo(newestAt) > 0) {
                newest = metadata.getParent();
                newestAt = at;
            }
        }
        if (newest != null && Files.exists(statements) && !Files.readString(statements).equals(job.fingerprint())) {
            throw new Settings.Mistake("the statements or the policy of the job " + job.name + " differ from "
                    + statements + ", which wrote the state there. Start with another STATE_DIR, GROUP and other output"
                    + " topics: the job then computes all rows from the beginning of the topics");
        }
        Files.writeString(statements, job.fingerprint());
        return newest;
    }

    private static List<Path> metadataFiles(Path directory) throws IOException {
        try (Stream<Path> files = Files.walk(directory, 3)) {
            return files.filter(file -> file.getFileName().toString().equals("_metadata")).toList();
        }
    }
}
