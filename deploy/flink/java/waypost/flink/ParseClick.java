package waypost.flink;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonFactory;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonParser;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.core.JsonToken;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.types.Row;

/**
 * A click or a stub from the value of its record, which is JSON or Protobuf ({@code deploy/schemas/click.v1.proto}),
 * record by record; the first byte tells. Always one row, except for a record without a value. Both encodings give the
 * same row. A value that is neither fails the job: Waypost writes none.
 */
@FunctionHint(output = @DataTypeHint("ROW<`type` STRING, click_id STRING, clicked_at_ms BIGINT, edge STRING,"
        + " lane BIGINT, epoch BIGINT, seq BIGINT, outcome STRING, `domain` STRING, `code` STRING, link_kind STRING,"
        + " link_created_at_ms BIGINT, link_ends_at_ms BIGINT, creator_id STRING, creator_type STRING,"
        + " partner_id STRING, seller_id STRING, campaign_id STRING, product_id STRING, product_set_id STRING,"
        + " `plan` STRING, rate_bp BIGINT, link_test BOOLEAN, visitor_id STRING, `class` STRING, countable BOOLEAN,"
        + " duplicate BOOLEAN, `source` STRING, labels_version BIGINT>"))
public final class ParseClick extends TableFunction<Row> {
    private static final long serialVersionUID = 1;

    private enum Type { TEXT, INTEGER, BOOLEAN }

    /** A field by its name in JSON and its number in Protobuf. */
    private record Field(String name, int number, Type type) {}

    /** In the order of the row. */
    private static final Field[] FIELDS = {
        new Field("type", 1, Type.TEXT),
        new Field("click_id", 3, Type.TEXT),
        new Field("clicked_at_ms", 4, Type.INTEGER),
        new Field("edge", 5, Type.TEXT),
        new Field("lane", 6, Type.INTEGER),
        new Field("epoch", 7, Type.INTEGER),
        new Field("seq", 8, Type.INTEGER),
        new Field("outcome", 10, Type.TEXT),
        new Field("domain", 18, Type.TEXT),
        new Field("code", 19, Type.TEXT),
        new Field("link_kind", 21, Type.TEXT),
        new Field("link_created_at_ms", 22, Type.INTEGER),
        new Field("link_ends_at_ms", 23, Type.INTEGER),
        new Field("creator_id", 24, Type.TEXT),
        new Field("creator_type", 25, Type.TEXT),
        new Field("partner_id", 26, Type.TEXT),
        new Field("seller_id", 27, Type.TEXT),
        new Field("campaign_id", 28, Type.TEXT),
        new Field("product_id", 29, Type.TEXT),
        new Field("product_set_id", 30, Type.TEXT),
        new Field("plan", 31, Type.TEXT),
        new Field("rate_bp", 32, Type.INTEGER),
        new Field("link_test", 33, Type.BOOLEAN),
        new Field("visitor_id", 34, Type.TEXT),
        new Field("class", 69, Type.TEXT),
        new Field("countable", 71, Type.BOOLEAN),
        new Field("duplicate", 73, Type.BOOLEAN),
        new Field("source", 75, Type.TEXT),
        new Field("labels_version", 79, Type.INTEGER),
    };
    private static final Map<String, Integer> BY_NAME = new HashMap<>();
    private static final int[] BY_NUMBER;

    static {
        int greatest = 0;
        for (int at = 0; at < FIELDS.length; at++) {
            BY_NAME.put(FIELDS[at].name, at);
            greatest = Math.max(greatest, FIELDS[at].number);
        }
        BY_NUMBER = new int[greatest + 1];
        java.util.Arrays.fill(BY_NUMBER, -1);
        for (int at = 0; at < FIELDS.length; at++) {
            BY_NUMBER[FIELDS[at].number] = at;
        }
    }

    private static final JsonFactory JSON = new JsonFactory();
    private static final int VARINT = 0;
    private static final int FIXED_64 = 1;
    private static final int BYTES = 2;
    private static final int FIXED_32 = 5;
    /** The prefix of a schema registry: 0, four bytes of an id, and 0 for the first message of the file. */
    private static final int PREFIX_BYTES = 6;

    public void eval(byte[] value) throws IOException {
        if (value == null) {
            return;
        }
        boolean isJson = value.length > 0 && value[0] == '{';
        collect(isJson ? ofJson(value) : new Message(value).row());
    }

    private static Row ofJson(byte[] value) throws IOException {
        Row row = new Row(FIELDS.length);
        try (JsonParser parser = JSON.createParser(value)) {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                Integer at = BY_NAME.get(parser.currentName());
                JsonToken token = parser.nextToken();
                if (at == null || token == JsonToken.VALUE_NULL) {
                    parser.skipChildren();
                } else {
                    row.setField(at, switch (FIELDS[at].type) {
                        case TEXT -> parser.getText();
                        case INTEGER -> parser.getLongValue();
                        case BOOLEAN -> parser.getBooleanValue();
                    });
                }
            }
            if (parser.currentToken() != JsonToken.END_OBJECT) {
                throw new IOException("the value of a click is cut off");
            }
        }
        return row;
    }

    /** A value in Protobuf. Of a field that is there twice the last value counts. */
    private static final class Message {
        private final byte[] value;
        private int at;

        Message(byte[] value) throws IOException {
            this.value = value;
            if (value.length > 0 && value[0] == 0) {
                if (value.length < PREFIX_BYTES || value[PREFIX_BYTES - 1] != 0) {
                    throw new IOException("the prefix in front of a value names no click");
                }
                at = PREFIX_BYTES;
            }
        }

        Row row() throws IOException {
            Row row = new Row(FIELDS.length);
            while (at < value.length) {
                long tag = varint();
                long number = tag >>> 3;
                int index = number < BY_NUMBER.length ? BY_NUMBER[(int) number] : -1;
                Object read = switch ((int) (tag & 7)) {
                    case VARINT -> number(index, varint());
                    case BYTES -> text(index, varint());
                    case FIXED_64 -> skip(8);
                    case FIXED_32 -> skip(4);
                    default -> throw new IOException("a value is neither JSON nor Protobuf");
                };
                if (index >= 0) {
                    row.setField(index, read);
                }
            }
            if (row.getField(0) == null) {
                throw new IOException("a value is no click: it has no type");
            }
            return row;
        }

        private Object number(int index, long read) throws IOException {
            if (index < 0) {
                return null;
            }
            return switch (FIELDS[index].type) {
                case INTEGER -> read;
                case BOOLEAN -> read != 0;
                case TEXT -> throw new IOException(FIELDS[index].name + " is a number");
            };
        }

        private Object text(int index, long length) throws IOException {
            int from = at;
            skip(length);
            if (index < 0) {
                return null;
            }
            if (FIELDS[index].type != Type.TEXT) {
                throw new IOException(FIELDS[index].name + " is a text");
            }
            return new String(value, from, at - from, StandardCharsets.UTF_8);
        }

        private Object skip(long length) throws IOException {
            if (length < 0 || length > value.length - at) {
                throw new IOException("a value is cut off");
            }
            at += (int) length;
            return null;
        }

        private long varint() throws IOException {
            long read = 0;
            for (int shift = 0; shift < 64; shift += 7) {
                if (at == value.length) {
                    throw new IOException("a value is cut off");
                }
                byte next = value[at++];
                read |= (long) (next & 0x7f) << shift;
                if (next >= 0) {
                    return read;
                }
            }
            throw new IOException("a value is neither JSON nor Protobuf");
        }
    }
}
