package waypost.flink;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes the clock of the states: a record for each multiple of TICK_MS that has passed, without a gap, also after this
 * program was away. Several writers do no harm: a tick counts once, however often it comes.
 *
 * <pre>Ticks DIRECTORY [NAME=VALUE...]</pre>
 */
public final class Ticks implements AutoCloseable {
    /** On an empty topic the ticks begin here: before the oldest order that the topic of orders still has. */
    private static final long HISTORY_MS = 180L * 86_400_000;
    private static final long MOST_AT_ONCE = 1_000_000;
    private static final Pattern VALUE = Pattern.compile("\\{\"as_of_ms\":(\\d{1,16})}");

    private final KafkaProducer<String, String> producer;
    private final String topic;
    private final long tickMs;
    /** The last tick on the topic, in milliseconds; 0 if there is none. */
    private long last;

    Ticks(Settings settings) throws Settings.Mistake {
        topic = settings.get("TOPIC_TICKS");
        tickMs = settings.number("TICK_MS");
        Properties client = new Properties();
        client.put("bootstrap.servers", settings.get("KAFKA"));
        client.put("enable.idempotence", "true");
        last = lastTick(settings.get("KAFKA"), topic);
        producer = new KafkaProducer<>(client, new StringSerializer(), new StringSerializer());
    }

    public static void main(String[] args) throws Exception {
        try {
            Settings settings = new Settings(Path.of(args[0]).resolve("settings.properties"),
                    Arrays.asList(args).subList(1, args.length));
            try (Ticks ticks = new Ticks(settings)) {
                while (true) {
                    long now = System.currentTimeMillis();
                    ticks.writeUntil(now);
                    Thread.sleep(ticks.tickMs - now % ticks.tickMs + 1);
                }
            }
        } catch (Settings.Mistake mistake) {
            System.err.println("ticks: " + mistake.getMessage());
            System.exit(64);
        } catch (ExecutionException failure) {
            System.err.println("ticks: " + failure.getCause());
            System.exit(1);
        }
    }

    /** Writes every tick after the last one up to the time, and waits until all are acknowledged. */
    void writeUntil(long timeMs) throws Settings.Mistake, ExecutionException, InterruptedException {
        long from = last > 0 ? last + tickMs : (timeMs - HISTORY_MS) / tickMs * tickMs;
        if ((timeMs - from) / tickMs > MOST_AT_ONCE) {
            throw new Settings.Mistake("TICK_MS=" + tickMs + ": more than " + MOST_AT_ONCE
                    + " ticks are missing since " + from + "; use a longer TICK_MS");
        }
        Future<?> sent = null;
        for (long at = from; at <= timeMs; at += tickMs) {
            sent = producer.send(new ProducerRecord<>(topic, 0, Long.toString(at), "{\"as_of_ms\":" + at + "}"));
            last = at;
        }
        producer.flush();
        if (sent != null) {
            sent.get();
        }
    }

    @Override
    public void close() {
        producer.close(Duration.ofSeconds(5));
    }

    private static long lastTick(String kafka, String topic) throws Settings.Mistake {
        Properties client = new Properties();
        client.put("bootstrap.servers", kafka);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(client, new StringDeserializer(), new StringDeserializer())) {
            consumer.assign(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            long begin = consumer.beginningOffsets(List.of(partition)).get(partition);
            if (begin == end) {
                return 0;
            }
            consumer.seek(partition, end - 1);
            for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofSeconds(30))) {
                Matcher value = VALUE.matcher(record.value());
                if (value.matches()) {
                    return Long.parseLong(value.group(1));
                }
            }
        }
        throw new Settings.Mistake("the last record of " + topic + " is no tick; it must be {\"as_of_ms\":N}");
    }
}
