package waypost.flink;

import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.functions.ScalarFunction;
import org.apache.flink.types.Row;

/** The sum of a line's clawbacks in minor units, not above 0. */
public final class ClawedBack extends ScalarFunction {
    private static final long serialVersionUID = 1;

    public Long eval(
            @DataTypeHint("ARRAY<ROW<returned_at_ms BIGINT, quantity BIGINT, amount_minor BIGINT>>") Row[] clawbacks) {
        long sum = 0;
        for (Row clawback : clawbacks == null ? new Row[0] : clawbacks) {
            sum = Math.addExact(sum, (Long) clawback.getField(2));
        }
        return sum;
    }
}
