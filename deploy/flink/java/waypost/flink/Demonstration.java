package waypost.flink;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.function.Predicate;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ObjectNode;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The shop and the buyers of deploy/flink/run.sh: buyers tap, order, get their goods and send some back, and the clock
 * of the states is moved ahead, until every line is payable or taken back. Exit 0 if every row is as this program knows
 * it must be: it knows who tapped what.
 *
 * <pre>Demonstration DIRECTORY SERVER WAYPOST DATA_DIRECTORY BUYERS once|repeat [NAME=VALUE...]</pre>
 */
public final class Demonstration {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long DAY_MS = 86_400_000;
    private static final Duration PATIENCE = Duration.ofMinutes(3);
    /** Each link with the product that it stands for and its creator. */
    private static final List<List<String>> LINKS =
            List.of(List.of("tea", "p_tea", "c_an"), List.of("tea2", "p_tea", "c_binh"), List.of("mugs", "p_mug", "c_chi"));

    private final Settings settings;
    private final String server;
    private final String waypost;
    private final String dataDirectory;
    private final KafkaProducer<String, String> producer;
    private final Watcher watcher;
    private final Ticks ticks;
    private final Random random = new Random(7);
    private final Map<String, ObjectNode> orders = new LinkedHashMap<>();
    /** Who must be credited for a line, by the key of its row; "-" is nobody. */
    private final Map<String, String> expected = new LinkedHashMap<>();
    private int buyers;

    private Demonstration(List<String> args, Settings settings) throws Settings.Mistake {
        this.settings = settings;
        server = args.get(1);
        waypost = args.get(2);
        dataDirectory = args.get(3);
        Properties client = new Properties();
        client.put("bootstrap.servers", settings.get("KAFKA"));
        producer = new KafkaProducer<>(client, new StringSerializer(), new StringSerializer());
        watcher = new Watcher(settings.get("KAFKA"), settings.get("TOPIC_COMMISSIONS"));
        ticks = new Ticks(settings);
    }

    public static void main(String[] arguments) throws Exception {
        List<String> args = Arrays.asList(arguments);
        Settings settings =
                new Settings(Path.of(args.get(0)).resolve("settings.properties"), args.subList(6, args.size()));
        Demonstration shop = new Demonstration(args, settings);
        shop.round(Integer.parseInt(args.get(4)));
        if (args.get(5).equals("repeat")) {
            say("a buyer every few seconds, until Ctrl-C; the clock is ahead, so what is delivered is payable at once");
            while (true) {
                shop.deliverOneOrder();
            }
        }
        System.exit(0);
    }

    private void deliverOneOrder() throws Exception {
        int number = buyers++;
        order(number);
        await("order " + number + " has rows", this::creatorsAreRight);
        ObjectNode order = orders.get("o_" + number);
        long now = System.currentTimeMillis();
        order.put("completed_at_ms", now);
        send(order, now);
        watcher.waitFor(rows -> false, Duration.ofSeconds(3));
    }

    private void round(int count) throws Exception {
        sendSetEntry();
        say(count + " buyers tap links, and each orders tea and a mug");
        for (int buyer = 0; buyer < count; buyer++) {
            order(buyers++);
        }
        await("every line has a row, and the right creator", this::creatorsAreRight);
        long now = System.currentTimeMillis();
        say("the goods arrive");
        for (ObjectNode order : orders.values()) {
            order.put("completed_at_ms", now);
            send(order, now);
        }
        ObjectNode first = orders.values().iterator().next();
        say("order " + first.get("order_id").asText() + " comes back whole, 3 days later");
        giveBack(first, now + 3 * DAY_MS, 2);
        say("the clock goes 15 days ahead");
        ticks.writeUntil(now + 15 * DAY_MS);
        await("every credited line is confirmed, and the returned order is reversed",
                rows -> statesAre(rows, first, "confirmed"));
        say("the clock goes 22 days ahead");
        ticks.writeUntil(now + 22 * DAY_MS);
        await("every credited line is payable", rows -> statesAre(rows, first, "payable"));
        ObjectNode last = orders.values().stream().reduce((before, after) -> after).orElseThrow();
        say("one piece of each line of order " + last.get("order_id").asText() + " comes back after 23 days");
        giveBack(last, now + 23 * DAY_MS, 1);
        await("its credited lines have a clawback", rows -> expected.entrySet().stream()
                .filter(line -> line.getKey().contains(last.get("order_id").toString()) && !line.getValue().equals("-"))
                .allMatch(line -> rows.get(line.getKey()).has("clawbacks")));
        say("every row is as expected: " + expected.size() + " lines");
    }

    /** A buyer taps one to three links and orders two pieces of each product. */
    private void order(int number) throws IOException, InterruptedException {
        Buyer buyer = new Buyer(number);
        Map<String, String> lastCreator = new LinkedHashMap<>();
        for (int tap = random.nextInt(3); tap >= 0; tap--) {
            List<String> link = LINKS.get(random.nextInt(LINKS.size()));
            buyer.tap(server, link.get(0));
            lastCreator.put(link.get(1), link.get(2));
            Thread.sleep(5);
        }
        long now = System.currentTimeMillis();
        ObjectNode order = JSON.createObjectNode().put("order_id", "o_" + number).put("buyer_id", "b_" + number)
                .put("paid_at_ms", now);
        order.set("click_tokens", buyer.verifiedTokens(waypost, dataDirectory));
        for (String product : List.of("p_tea", "p_mug")) {
            String line = product.equals("p_tea") ? "1" : "2";
            order.withArray("lines").addObject().put("line_id", line).put("seller_id", "s_311")
                    .put("product_id", product).put("quantity", 2).put("value_minor", 100_001).put("currency", "VND");
            expected.put("{\"order_id\":\"o_" + number + "\",\"line_id\":\"" + line + "\"}",
                    lastCreator.getOrDefault(product, "-"));
        }
        orders.put("o_" + number, order);
        send(order, now);
    }

    private void giveBack(ObjectNode order, long atMs, int quantity) {
        for (JsonNode line : order.withArray("lines")) {
            ((ObjectNode) line).withArray("returns").addObject().put("returned_at_ms", atMs).put("quantity", quantity);
        }
        send(order, atMs);
    }

    private boolean creatorsAreRight(Map<String, JsonNode> rows) {
        return expected.entrySet().stream().allMatch(line -> rows.containsKey(line.getKey())
                && rows.get(line.getKey()).path("creator_id").asText("-").equals(line.getValue()));
    }

    /** The credited lines of the returned order are reversed, all others are in the state; uncredited are rejected. */
    private boolean statesAre(Map<String, JsonNode> rows, ObjectNode returned, String state) {
        return expected.entrySet().stream().allMatch(line -> {
            String found = rows.get(line.getKey()).path("state").asText();
            boolean isReturned = line.getKey().contains(returned.get("order_id").toString());
            return found.equals(line.getValue().equals("-") ? "rejected" : isReturned ? "reversed" : state);
        });
    }

    /** The showcase's set holds the mug. */
    private void sendSetEntry() {
        ObjectNode entry = JSON.createObjectNode().put("product_set_id", "set_chi").put("seller_id", "s_311")
                .put("product_id", "p_mug").put("valid_from_ms", 1).put("plan", "open").put("rate_bp", 900);
        producer.send(new ProducerRecord<>(settings.get("TOPIC_PRODUCT_SETS"), "set_chi/s_311/p_mug/1", entry.toString()));
    }

    private void send(ObjectNode order, long updatedAtMs) {
        order.put("updated_at_ms", updatedAtMs);
        producer.send(new ProducerRecord<>(settings.get("TOPIC_ORDERS"), order.get("order_id").asText(), order.toString()));
        producer.flush();
    }

    private void await(String what, Predicate<Map<String, JsonNode>> condition) throws JsonProcessingException {
        if (!watcher.waitFor(condition, PATIENCE)) {
            System.err.println("demonstration: waited " + PATIENCE.toMinutes() + " minutes for: " + what
                    + "\nexpected creators: " + expected);
            System.exit(1);
        }
    }

    private static void say(String what) {
        System.out.println("\n## " + what);
    }
}
