import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** What the integration tests need from Apache Kafka's own classes. */
public final class Harness {
    public static void main(String[] args) throws Exception {
        String[] rest = Arrays.copyOfRange(args, 1, args.length);
        switch (args[0]) {
            case "broker" -> broker(rest[0]);
            case "read" -> read(rest[0], Long.parseLong(rest[1]), Long.parseLong(rest[2]),
                    Arrays.asList(rest).subList(3, rest.length));
            case "allow" -> allow(rest[0], rest[1], rest[2]);
            case "forbid" -> forbid(rest[0], rest[1], rest[2]);
            case "lead" -> lead(rest[0], rest[1]);
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** The broker ends with whoever holds its standard input: a test run that is killed leaves nothing behind. */
    private static void broker(String properties) {
        Thread watch = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                }
            } catch (java.io.IOException gone) {
                // As good as its end.
            }
            Runtime.getRuntime().halt(1);
        });
        watch.setDaemon(true);
        watch.start();
        kafka.Kafka.main(new String[] {properties});
    }

    /** Every record of the topics, a JSON line each; waits until there are as many as asked for, or for the time given. */
    private static void read(String brokers, long atLeast, long millis, List<String> topics) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("auto.offset.reset", "earliest");
        settings.put("isolation.level", "read_committed");
        settings.put("max.poll.records", "10000");
        ObjectMapper json = new ObjectMapper();
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        long deadline = System.currentTimeMillis() + millis;
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            Map<String, Integer> partitions = new LinkedHashMap<>();
            List<TopicPartition> all = new ArrayList<>();
            for (String topic : topics) {
                List<PartitionInfo> infos = consumer.partitionsFor(topic);
                partitions.put(topic, infos.size());
                infos.forEach(info -> all.add(new TopicPartition(topic, info.partition())));
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            long seen = 0;
            while (true) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(50))) {
                    out.println(json.writeValueAsString(line(record, partitions.get(record.topic()))));
                    seen++;
                }
                boolean atEnd = true;
                for (Map.Entry<TopicPartition, Long> end : ends.entrySet()) {
                    atEnd &= consumer.position(end.getKey()) >= end.getValue();
                }
                if (atEnd && seen >= atLeast || System.currentTimeMillis() > deadline) {
                    break;
                }
            }
        }
        out.flush();
    }

    private static Map<String, Object> line(ConsumerRecord<byte[], byte[]> record, int partitions) {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("topic", record.topic());
        line.put("partition", record.partition());
        line.put("offset", record.offset());
        line.put("timestamp", record.timestamp());
        line.put("timestamp_type", record.timestampType().toString());
        line.put("key", text(record.key()));
        // Where the Java producer would have put this key.
        line.put("java_partition",
                record.key() == null ? null : BuiltInPartitioner.partitionForKey(record.key(), partitions));
        line.put("value", text(record.value()));
        List<List<String>> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(Arrays.asList(header.key(), text(header.value())));
        }
        line.put("headers", headers);
        return line;
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    /** Lets a user describe and write a topic. */
    private static void allow(String brokers, String user, String topic) throws Exception {
        ResourcePattern pattern = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
        List<AclBinding> rules = new ArrayList<>();
        for (AclOperation operation : List.of(AclOperation.DESCRIBE, AclOperation.WRITE)) {
            rules.add(new AclBinding(pattern,
                    new AccessControlEntry("User:" + user, "*", operation, AclPermissionType.ALLOW)));
        }
        try (Admin admin = admin(brokers)) {
            admin.createAcls(rules).all().get();
        }
    }

    /** Takes away what {@link #allow} gave. */
    private static void forbid(String brokers, String user, String topic) throws Exception {
        ResourcePattern pattern = new ResourcePattern(ResourceType.TOPIC, topic, PatternType.LITERAL);
        AclBindingFilter all = new AclBindingFilter(pattern.toFilter(), new AccessControlEntryFilter(
                "User:" + user, "*", AclOperation.ANY, AclPermissionType.ALLOW));
        try (Admin admin = admin(brokers)) {
            if (admin.deleteAcls(List.of(all)).all().get().isEmpty()) {
                throw new IllegalStateException(user + " was not allowed anything on " + topic);
            }
        }
    }

    /** Makes the second copy of each partition the first, and has the first ones lead. */
    private static void lead(String brokers, String topic) throws Exception {
        try (Admin admin = admin(brokers)) {
            Map<TopicPartition, Optional<NewPartitionReassignment>> moves = new LinkedHashMap<>();
            for (TopicPartitionInfo partition
                    : admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions()) {
                List<Integer> copies = new ArrayList<>();
                partition.replicas().forEach(node -> copies.add(node.id()));
                Collections.rotate(copies, -1);
                moves.put(new TopicPartition(topic, partition.partition()),
                        Optional.of(new NewPartitionReassignment(copies)));
            }
            admin.alterPartitionReassignments(moves).all().get();
            // A partition whose leader moved by itself needs no election, and is told so as an error of its own.
            for (Optional<Throwable> refused : admin.electLeaders(ElectionType.PREFERRED, moves.keySet())
                    .partitions().get().values()) {
                if (refused.isPresent() && !(refused.get() instanceof ElectionNotNeededException)) {
                    throw new IllegalStateException(refused.get());
                }
            }
        }
    }

    private static Admin admin(String brokers) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        return Admin.create(settings);
    }
}
