package waypost.flink;

import java.time.DateTimeException;
import java.time.OffsetDateTime;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonProcessingException;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.JsonNode;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.types.Row;

/** The facts of a line of the links file; no row if the line is none. Absent means: `domain` *, no creator and so on. */
@FunctionHint(output = @DataTypeHint("ROW<link_kind STRING, created_ms BIGINT, ends_ms BIGINT, test INT,"
        + " creator_id STRING, creator_type STRING, partner_id STRING, seller_id STRING, campaign_id STRING,"
        + " product_id STRING, product_set_id STRING, plan STRING, rate_bp BIGINT>"))
public final class ParseLink extends TableFunction<Row> {
    private static final long serialVersionUID = 1;
    private static final ObjectMapper JSON = new ObjectMapper();

    public void eval(String value) {
        try {
            JsonNode link = JSON.readTree(value);
            Long created = time(link, "created_at");
            if (created == null || link.path("code").asText().isEmpty()) {
                return;
            }
            Long ends = time(link, "expires_at");
            JsonNode rate = link.path("rate_bp");
            collect(Row.of(text(link, "kind"), created, ends == null ? Long.valueOf(Long.MAX_VALUE) : ends,
                    link.path("test").asBoolean() ? 1 : 0, text(link, "creator"), text(link, "creator_type"),
                    text(link, "partner"), text(link, "seller"), text(link, "campaign"), text(link, "product"),
                    text(link, "product_set"), text(link, "plan"), rate.isIntegralNumber() ? rate.asLong() : null));
        } catch (JsonProcessingException | DateTimeException notALink) {
            // The line is no link: a token of its code stays unknown and earns nothing.
        }
    }

    private static String text(JsonNode link, String key) {
        JsonNode value = link.path(key);
        return value.isTextual() ? value.asText() : null;
    }

    private static Long time(JsonNode link, String key) {
        String text = text(link, key);
        return text == null ? null : Long.valueOf(OffsetDateTime.parse(text).toInstant().toEpochMilli());
    }
}
