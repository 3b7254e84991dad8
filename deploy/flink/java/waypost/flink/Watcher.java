package waypost.flink;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.function.Predicate;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Reads {@code commissions} and prints each row as it changes. */
final class Watcher implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final KafkaConsumer<String, String> consumer;
    private final Map<String, JsonNode> rows = new LinkedHashMap<>();

    Watcher(String kafka, String topic) {
        Properties client = new Properties();
        client.put("bootstrap.servers", kafka);
        client.put("isolation.level", "read_committed");
        consumer = new KafkaConsumer<>(client, new StringDeserializer(), new StringDeserializer());
        List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition())).toList();
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
    }

    /** Reads and prints until the rows satisfy the condition; false if they do not within the time. */
    boolean waitFor(Predicate<Map<String, JsonNode>> condition, Duration patience) throws JsonProcessingException {
        long deadline = System.nanoTime() + patience.toNanos();
        while (System.nanoTime() < deadline) {
            // A row that is replaced can be removed and written again in one transaction: only the last state is news.
            Map<String, JsonNode> changed = new LinkedHashMap<>();
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                changed.put(record.key(), record.value() == null ? null : JSON.readTree(record.value()));
            }
            for (Map.Entry<String, JsonNode> change : changed.entrySet()) {
                update(change.getKey(), change.getValue());
            }
            if (condition.test(rows)) {
                return true;
            }
        }
        return false;
    }

    private void update(String key, JsonNode row) {
        if (row == null) {
            rows.remove(key);
            return;
        }
        if (!row.equals(rows.put(key, row))) {
            System.out.printf("%-8s line %s  %-9s %8d %s  %-10s %s%s%n", row.path("order_id").asText(),
                    row.path("line_id").asText(), row.path("state").asText(), row.path("commission_minor").asLong(),
                    row.path("currency").asText(), row.path("creator_id").asText("-"), row.path("reason").asText(),
                    row.has("clawbacks") ? "  clawbacks " + row.get("clawbacks") : "");
        }
    }

    @Override
    public void close() {
        consumer.close();
    }
}
