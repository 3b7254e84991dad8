package waypost.flink;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/**
 * Creates the topics that the pipeline reads and writes, beside those of {@code waypost kafka setup}. What exists is
 * left as it is.
 *
 * <pre>Topics DIRECTORY PARTITIONS REPLICAS [NAME=VALUE...]</pre>
 */
public final class Topics {
    /** Longer than any order is open: 180 days, as the topics of clicks. */
    private static final String RETENTION_MS = Long.toString(180L * 86_400_000);
    private static final Map<String, String> COMPACTED = Map.of("cleanup.policy", "compact");
    private static final Map<String, String> KEPT = Map.of("cleanup.policy", "delete", "retention.ms", RETENTION_MS);

    private Topics() {}

    public static void main(String[] args) throws Exception {
        try {
            create(args);
        } catch (Settings.Mistake mistake) {
            System.err.println("topics: " + mistake.getMessage());
            System.exit(64);
        } catch (ExecutionException failure) {
            System.err.println("topics: " + failure.getCause());
            System.exit(1);
        }
    }

    private static void create(String[] args) throws Exception {
        if (args.length < 3) {
            throw new Settings.Mistake("usage: Topics DIRECTORY PARTITIONS REPLICAS [NAME=VALUE...]");
        }
        Settings settings = new Settings(Path.of(args[0]).resolve("settings.properties"),
                Arrays.asList(args).subList(3, args.length));
        int partitions = Integer.parseInt(args[1]);
        short replicas = Short.parseShort(args[2]);
        List<NewTopic> topics = new ArrayList<>();
        for (String name : List.of("ORDERS", "LATE_ORDERS", "REFUSED_ORDERS")) {
            topics.add(new NewTopic(settings.get("TOPIC_" + name), partitions, replicas).configs(KEPT));
        }
        for (String name : List.of("PRODUCT_SETS", "LINKS", "WINNERS", "COMMISSIONS", "CREATOR_CLICKS",
                "CREATOR_COMMISSIONS")) {
            topics.add(new NewTopic(settings.get("TOPIC_" + name), partitions, replicas).configs(COMPACTED));
        }
        topics.add(new NewTopic(settings.get("TOPIC_TICKS"), 1, replicas).configs(COMPACTED));
        Properties client = new Properties();
        client.put("bootstrap.servers", settings.get("KAFKA"));
        try (Admin admin = Admin.create(client)) {
            Set<String> existing = admin.listTopics().names().get();
            topics.removeIf(topic -> existing.contains(topic.name()));
            admin.createTopics(topics).all().get();
        }
        topics.forEach(topic -> System.err.println("topics: created " + topic.name()));
    }
}
