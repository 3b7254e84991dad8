package waypost.flink;

import java.util.ArrayList;
import java.util.List;
import org.apache.flink.table.annotation.DataTypeHint;
import org.apache.flink.table.annotation.FunctionHint;
import org.apache.flink.table.functions.TableFunction;
import org.apache.flink.types.Row;

/** {@link Settlement} as a table function: one row for a line, none before the order is paid. */
@FunctionHint(output = @DataTypeHint("ROW<currency STRING, quantity BIGINT, value_minor BIGINT, state STRING,"
        + " reason STRING, commission_minor BIGINT, kept_quantity BIGINT, confirmed_at_ms BIGINT,"
        + " payable_from_ms BIGINT, payable_until_ms BIGINT,"
        + " clawbacks ARRAY<ROW<returned_at_ms BIGINT, quantity BIGINT, amount_minor BIGINT>>>"))
public final class Settle extends TableFunction<Row> {
    private static final long serialVersionUID = 1;

    /**
     * @param winnerReason the reason of step 7; {@code last_click} means that somebody is credited
     * @param paidLine the line as it was when paid, for a line that the last version does not have
     * @param lines the lines of the last version
     * @param days to confirm, payable from, payable until
     */
    public void eval(
            Long asOfMs, Long paidAtMs, String winnerReason, Long rateBp, String lineId,
            @DataTypeHint("ROW<quantity BIGINT, value_minor BIGINT, currency STRING>") Row paidLine,
            Long updatedAtMs, Long completedAtMs, Long cancelledAtMs,
            @DataTypeHint("ARRAY<ROW<line_id STRING, seller_id STRING, product_id STRING, quantity BIGINT,"
                    + " value_minor BIGINT, currency STRING,"
                    + " `returns` ARRAY<ROW<returned_at_ms BIGINT, quantity BIGINT>>>>") Row[] lines,
            @DataTypeHint("ROW<a BIGINT, b BIGINT, c BIGINT>") Row days) {
        if (asOfMs < paidAtMs) {
            return;
        }
        Row found = find(lines, lineId);
        String currency = (String) (found == null ? paidLine.getField(2) : found.getField(5));
        Settlement.Line line = found == null
                ? new Settlement.Line((Long) paidLine.getField(0), (Long) paidLine.getField(1), List.of(), updatedAtMs)
                : new Settlement.Line((Long) found.getField(3), (Long) found.getField(4), returns(found), null);
        Settlement settled = winnerReason.equals("last_click")
                ? Settlement.credited(asOfMs, rateBp, line, new Settlement.Progress(completedAtMs, cancelledAtMs),
                        new Settlement.Days((Long) days.getField(0), (Long) days.getField(1), (Long) days.getField(2)))
                : Settlement.rejected(winnerReason);
        collect(Row.of(currency, line.quantity(), line.valueMinor(), settled.state(), settled.reason(),
                settled.commissionMinor(), settled.keptQuantity(), settled.confirmedAtMs(), settled.payableFromMs(),
                settled.payableUntilMs(), clawbacks(settled)));
    }

    private static Row find(Row[] lines, String lineId) {
        for (Row line : lines) {
            if (lineId.equals(line.getField(0))) {
                return line;
            }
        }
        return null;
    }

    private static List<Settlement.Return> returns(Row line) {
        List<Settlement.Return> returns = new ArrayList<>();
        for (Row back : (Row[]) line.getField(6)) {
            returns.add(new Settlement.Return((Long) back.getField(0), (Long) back.getField(1)));
        }
        return returns;
    }

    /** Null if there is none, so that the field is left out. */
    private static Row[] clawbacks(Settlement settled) {
        Row[] rows = settled.clawbacks().stream()
                .map(back -> Row.of(back.atMs(), back.quantity(), back.amountMinor())).toArray(Row[]::new);
        return rows.length == 0 ? null : rows;
    }
}
