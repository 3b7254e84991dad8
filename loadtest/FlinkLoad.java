import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Input for loadtest/flink.sh, and waiting for its output.
 *
 * <pre>
 * FlinkLoad send KAFKA CLICKS ORDERS    clicks of visitors with three clicks each; orders with the tokens of one visitor
 * FlinkLoad wait KAFKA TOPIC KEYS       returns when the topic has so many keys
 * </pre>
 */
public final class FlinkLoad {
    private static final int CREATORS = 500;
    private static final int CLICKS_OF_A_VISITOR = 3;

    public static void main(String[] args) throws Exception {
        if (args[0].equals("send")) {
            send(args[1], Integer.parseInt(args[2]), Integer.parseInt(args[3]));
        } else {
            waitForKeys(args[1], args[2], Integer.parseInt(args[3]));
        }
    }

    private static void send(String kafka, int clicks, int orders) throws Exception {
        Properties client = new Properties();
        client.put("bootstrap.servers", kafka);
        client.put("linger.ms", "20");
        client.put("compression.type", "lz4");
        long now = System.currentTimeMillis();
        Random random = new Random(1);
        try (var producer = new KafkaProducer<>(client, new StringSerializer(), new StringSerializer())) {
            for (int number = 0; number < clicks; number++) {
                String visitor = "%032x".formatted(number / CLICKS_OF_A_VISITOR);
                var record = new ProducerRecord<>("clicks", visitor, click(number, visitor, now));
                record.headers().add("wp_shipped_at_ms", Long.toString(now).getBytes());
                producer.send(record);
            }
            for (int number = 0; number < orders; number++) {
                String id = "o_" + number;
                int visitor = random.nextInt(clicks / CLICKS_OF_A_VISITOR);
                producer.send(new ProducerRecord<>("orders", id, order(id, visitor, now)));
            }
        }
    }

    private static String click(int number, String visitor, long now) {
        int link = number % (CREATORS * 4);
        return """
                {"type":"click","schema_version":1,"click_id":"%s","clicked_at_ms":%d,"edge":"edge-1","lane":0,"epoch":1,\
                "seq":%d,"safe":0,"outcome":"redirected","status":302,"carrier":"browser","cookie_set":true,\
                "token_placed":true,"domain":"*","code":"%s","link_kind":"product","link_created_at_ms":%d,\
                "link_ends_at_ms":%d,"link_test":false,"creator_id":"c_%d","creator_type":"affiliate","partner_id":"tap_7",\
                "seller_id":"s_1","product_id":"p_%d","plan":"open","rate_bp":1200,"visitor_id":"%s","class":"human",\
                "countable":true,"duplicate":false,"source":"instagram","labels_version":2}"""
                .formatted(clickId(number), now - 60_000 + number % 60_000, number, code(link), now - 86_400_000L,
                        now + 90 * 86_400_000L, link % CREATORS, link % 40, visitor);
    }

    private static String order(String id, int visitor, long now) {
        StringBuilder tokens = new StringBuilder();
        int first = visitor * CLICKS_OF_A_VISITOR;
        for (int number = first; number < first + CLICKS_OF_A_VISITOR; number++) {
            tokens.append(number == first ? "" : ",").append("""
                    {"verdict":"valid","kind":"url","click_id":"%s","clicked_at_ms":%d,"domain":"*","code":"%s",\
                    "audience_kind":"seller","audience":"s_1","flags":[]}"""
                    .formatted(clickId(number), now, code(number % (CREATORS * 4))));
        }
        return """
                {"order_id":"%s","updated_at_ms":%d,"buyer_id":"b_%d","paid_at_ms":%d,"completed_at_ms":%d,\
                "click_tokens":[%s],"lines":[{"line_id":"1","seller_id":"s_1","product_id":"p_%d","quantity":1,\
                "value_minor":100000,"currency":"VND"}]}"""
                .formatted(id, now, visitor, now, now, tokens, first % 40);
    }

    private static String clickId(int number) {
        return "01a1f3ad-8e00-7000-8000-%012x".formatted(number);
    }

    private static String code(int link) {
        return "L%07d".formatted(link);
    }

    private static void waitForKeys(String kafka, String topic, int keys) {
        Properties client = new Properties();
        client.put("bootstrap.servers", kafka);
        client.put("isolation.level", "read_committed");
        Set<String> found = new HashSet<>();
        try (var consumer = new KafkaConsumer<>(client, new StringDeserializer(), new StringDeserializer())) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(info -> new TopicPartition(topic, info.partition())).toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (found.size() < keys) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    found.add(record.key());
                }
            }
        }
    }
}
