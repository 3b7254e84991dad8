package waypost.flink;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.types.Row;

/**
 * A version of an order, read from its JSON and checked; always one row. A version that cannot be used has a fault
 * that says why, and nothing else: it goes to the topic of refused orders, and the job goes on. Unknown fields are
 * ignored.
 */
@FunctionHint(output = @DataTypeHint("ROW<order_id STRING, updated_at_ms BIGINT, buyer_id STRING,"
        + " buyer_creator_id STRING, paid_at_ms BIGINT, completed_at_ms BIGINT, cancelled_at_ms BIGINT,"
        + " click_tokens ARRAY<ROW<verdict STRING, kind STRING, click_id STRING, clicked_at_ms BIGINT, domain STRING,"
        + " code STRING, audience_kind STRING, audience STRING, unjournaled INT, visitor_id STRING,"
        + " landed_at_ms BIGINT, landed_by STRING>>, bad_tokens BIGINT,"
        + " lines ARRAY<ROW<line_id STRING, seller_id STRING, product_id STRING, quantity BIGINT, value_minor BIGINT,"
        + " currency STRING, `returns` ARRAY<ROW<returned_at_ms BIGINT, quantity BIGINT>>>>,"
        + " returned_at_ms ARRAY<BIGINT>, fault STRING>"))
public final class ParseOrder extends TableFunction<Row> {
    private static final long serialVersionUID = 1;
    private static final int FIELDS = 12;
    /** Integers of JSON are exact up to this one in every language. */
    private static final long LARGEST = (1L << 53) - 1;
    private static final ObjectMapper JSON =
            new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private static final class Fault extends Exception {
        private static final long serialVersionUID = 1;

        Fault(String message) {
            super(message);
        }
    }

    public void eval(String value) {
        Row row;
        try {
            row = order(JSON.readTree(value == null ? "" : value));
        } catch (JsonProcessingException error) {
            row = refused("the value is no JSON: " + error.getOriginalMessage());
        } catch (Fault fault) {
            row = refused(fault.getMessage());
        }
        collect(row);
    }

    private static Row refused(String fault) {
        Row row = new Row(FIELDS);
        row.setField(FIELDS - 1, fault);
        return row;
    }

    private static Row order(JsonNode order) throws Fault {
        if (!order.isObject()) {
            throw new Fault("the value is no JSON object");
        }
        Long paid = integer(order, "paid_at_ms", false);
        Long completed = integer(order, "completed_at_ms", false);
        if (completed != null && (paid == null || completed < paid)) {
            throw new Fault("completed_at_ms is before paid_at_ms");
        }
        List<Row> tokens = new ArrayList<>();
        long bad = 0;
        for (JsonNode token : list(order, "click_tokens", "")) {
            Row read = token(token);
            String verdict = (String) read.getField(0);
            if (verdict.equals("valid") || verdict.equals("expired")) {
                tokens.add(read);
            } else {
                bad++;
            }
        }
        List<Long> returned = new ArrayList<>();
        Row[] lines = lines(order, returned);
        return Row.of(text(order, "order_id", true), integer(order, "updated_at_ms", true),
                text(order, "buyer_id", true), text(order, "buyer_creator_id", false), paid, completed,
                integer(order, "cancelled_at_ms", false), tokens.toArray(Row[]::new), bad, lines,
                returned.toArray(Long[]::new), null);
    }

    private static Row token(JsonNode token) throws Fault {
        if (token.isTextual()) {
            throw new Fault("click_tokens has a raw token; it must be what `waypost token verify --json` says of it");
        }
        String verdict = text(token, "verdict", true);
        boolean genuine = verdict.equals("valid") || verdict.equals("expired");
        boolean unjournaled = false;
        for (JsonNode flag : list(token, "flags", "click_tokens: ")) {
            // The rule's word, and the word of `waypost token verify`.
            unjournaled |= flag.asText().equals("unjournaled") || flag.asText().equals("unrecorded");
        }
        return Row.of(verdict, text(token, "kind", genuine), text(token, "click_id", genuine),
                integer(token, "clicked_at_ms", genuine), text(token, "domain", genuine),
                text(token, "code", genuine), text(token, "audience_kind", false), text(token, "audience", false),
                unjournaled ? 1 : 0, text(token, "visitor_id", false), integer(token, "landed_at_ms", false),
                text(token, "landed_by", false));
    }

    private static Row[] lines(JsonNode order, List<Long> returned) throws Fault {
        List<Row> rows = new ArrayList<>();
        Set<String> ids = new HashSet<>();
        for (JsonNode line : list(order, "lines", "")) {
            String id = text(line, "line_id", true);
            if (!ids.add(id)) {
                throw new Fault("line_id " + id + " is there twice");
            }
            List<Row> returns = new ArrayList<>();
            for (JsonNode back : list(line, "returns", "line " + id + ": ")) {
                long at = integer(back, "returned_at_ms", true);
                returned.add(at);
                returns.add(Row.of(at, atLeast(1, back, "quantity")));
            }
            rows.add(Row.of(id, text(line, "seller_id", true), text(line, "product_id", true),
                    atLeast(1, line, "quantity"), atLeast(0, line, "value_minor"), text(line, "currency", true),
                    returns.toArray(Row[]::new)));
        }
        return rows.toArray(Row[]::new);
    }

    private static long atLeast(long least, JsonNode object, String key) throws Fault {
        long value = integer(object, key, true);
        if (value < least) {
            throw new Fault(key + " is " + value + ", and must be at least " + least);
        }
        return value;
    }

    private static Long integer(JsonNode object, String key, boolean needed) throws Fault {
        JsonNode value = field(object, key, needed);
        if (value == null) {
            return null;
        }
        if (!value.isIntegralNumber() || !value.canConvertToLong() || Math.abs(value.asLong()) > LARGEST) {
            throw new Fault(key + " is " + value + ", and must be an integer of at most 53 bits");
        }
        return value.asLong();
    }

    private static String text(JsonNode object, String key, boolean needed) throws Fault {
        JsonNode value = field(object, key, needed);
        if (value == null) {
            return null;
        }
        if (!value.isTextual()) {
            throw new Fault(key + " is " + value + ", and must be a text");
        }
        return value.asText();
    }

    /** The elements of a list; none if it is absent. */
    private static JsonNode list(JsonNode object, String key, String where) throws Fault {
        JsonNode value = field(object, key, false);
        if (value != null && !value.isArray()) {
            throw new Fault(where + key + " must be a list");
        }
        return value == null ? JSON.createArrayNode() : value;
    }

    private static JsonNode field(JsonNode object, String key, boolean needed) throws Fault {
        JsonNode value = object.get(key);
        if (value == null || value.isNull()) {
            if (needed) {
                throw new Fault(key + " is missing");
            }
            return null;
        }
        return value;
    }
}
