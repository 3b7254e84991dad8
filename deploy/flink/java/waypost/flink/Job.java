package waypost.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.ExplainDetail;
import org.apache.flink.table.api.SqlParserException;
import org.apache.flink.table.api.StatementSet;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableException;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.api.ValidationException;

/** A job: the files that {@code jobs/NAME.list} names. All its INSERTs run as one statement set. */
final class Job {
    /** What may differ between two runs over the same state. */
    private static final List<String> FREE = List.of("KAFKA", "TRANSACTION_TIMEOUT_MS", "FLUSH_INTERVAL", "SCAN_END", "DELIVERY");

    final String name;
    private final Settings settings;
    private final List<SqlFile.Statement> statements = new ArrayList<>();

    Job(Path directory, String name, Settings settings) throws IOException, Settings.Mistake {
        this.name = name;
        this.settings = settings;
        Path list = directory.resolve("jobs").resolve(name + ".list");
        if (!Files.exists(list)) {
            throw new Settings.Mistake("there is no job " + name + ": " + list + " does not exist");
        }
        for (String file : Files.readAllLines(list)) {
            if (!file.isBlank() && !file.startsWith("#")) {
                statements.addAll(SqlFile.statements(directory.resolve(file.strip())));
            }
        }
    }

    /** The plan, with the changelog mode of each operator. */
    String explain() throws Settings.Mistake {
        return inserts(environment(null)).explain(ExplainDetail.CHANGELOG_MODE);
    }

    /** Submits the job; it continues from {@code restored} if that is not null. */
    TableResult start(Path restored) throws Settings.Mistake {
        return inserts(environment(restored)).execute();
    }

    /** The statements as they run, without what may differ between two runs over one state. */
    String fingerprint() throws Settings.Mistake {
        StringBuilder text = new StringBuilder();
        for (SqlFile.Statement statement : statements) {
            text.append(settings.substitute(statement.text(), statement.where(), FREE)).append(";\n");
        }
        return text.toString();
    }

    private StatementSet inserts(TableEnvironment environment) throws Settings.Mistake {
        StatementSet set = environment.createStatementSet();
        for (SqlFile.Statement statement : statements) {
            String sql = settings.substitute(statement.text(), statement.where(), List.of());
            try {
                if (statement.isInsert()) {
                    set.addInsertSql(sql);
                } else {
                    environment.executeSql(sql);
                }
            } catch (TableException | ValidationException | SqlParserException error) {
                throw new IllegalStateException(statement.where() + ": " + error.getMessage(), error);
            }
        }
        return set;
    }

    /** The name by which a cluster lists the job. */
    String pipelineName() {
        return settings.get("GROUP") + "-" + name;
    }

    private TableEnvironment environment(Path restored) throws Settings.Mistake {
        Configuration conf = new Configuration();
        if (Cluster.isNamed(settings)) {
            Cluster.addTo(conf, settings);
        } else {
            runInThisProcess(conf);
        }
        conf.setString("pipeline.name", pipelineName());
        conf.setString("parallelism.default", settings.get("PARALLELISM"));
        conf.setString("table.local-time-zone", "UTC");
        conf.setString("table.exec.state.ttl", settings.get("TTL_" + name.toUpperCase(Locale.ROOT)));
        conf.setString("state.backend.type", settings.get("STATE_BACKEND"));
        conf.setString("execution.checkpointing.incremental",
                Boolean.toString(settings.is("STATE_BACKEND", "rocksdb")));
        if (settings.is("MODE", "continuous")) {
            conf.setString("execution.checkpointing.interval", settings.get("CHECKPOINT_INTERVAL"));
            conf.setString("execution.checkpointing.dir", State.directory(settings, name).toUri().toString());
            conf.setString("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
        }
        if (restored != null) {
            conf.setString("execution.state-recovery.path", restored.toUri().toString());
            conf.setString("execution.state-recovery.claim-mode", "CLAIM");
        }
        return TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(conf).build());
    }

    private void runInThisProcess(Configuration conf) {
        // Flink listens on every interface by default.
        for (String key : List.of("rest.address", "rest.bind-address", "taskmanager.host", "taskmanager.bind-host",
                "jobmanager.rpc.address", "jobmanager.bind-host")) {
            conf.setString(key, "127.0.0.1");
        }
        conf.setString("rest.bind-port", "0");
        conf.setString("taskmanager.memory.managed.size", settings.is("STATE_BACKEND", "rocksdb") ? "256m" : "1m");
        conf.setString("taskmanager.memory.network.min", "48m");
        conf.setString("taskmanager.memory.network.max", "48m");
        conf.setString("taskmanager.numberOfTaskSlots", settings.get("PARALLELISM"));
    }
}
