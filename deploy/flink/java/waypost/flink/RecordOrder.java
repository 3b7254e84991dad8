package waypost.flink;

import java.nio.charset.StandardCharsets;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * A text by which the records of one click are compared: the greatest is the one that stands (step 1). The first to
 * arrive, then the newest label rules, then no duplicate, then the least (edge, lane, epoch, seq).
 *
 * <p>One descending column, because Flink 2.1 to 2.3 loses retractions with any other ORDER BY (FLINK-40368).
 */
public final class RecordOrder extends ScalarFunction {
    private static final long serialVersionUID = 1;

    public String eval(
            Long arrivedAtMs, Long labelsVersion, Boolean duplicate, String edge, Long lane, Long epoch, Long seq) {
        StringBuilder key = new StringBuilder(128);
        appendLeastFirst(key, arrivedAtMs);
        key.append(String.format("%016x", labelsVersion == null ? 0 : labelsVersion));
        key.append(Boolean.TRUE.equals(duplicate) ? '0' : '1');
        for (byte part : (edge == null ? "" : edge).getBytes(StandardCharsets.UTF_8)) {
            key.append(String.format("%02x", 0xff - (part & 0xff)));
        }
        key.append('g');    // after every hexadecimal digit: a shorter name is the lesser one
        appendLeastFirst(key, lane);
        appendLeastFirst(key, epoch);
        appendLeastFirst(key, seq);
        return key.toString();
    }

    private static void appendLeastFirst(StringBuilder key, Long number) {
        key.append(String.format("%016x", Long.MAX_VALUE - (number == null ? 0 : number)));
    }
}
