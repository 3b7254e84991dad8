package waypost.flink;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * What a credited line is worth at a time (step 8): its state, its commission and what is taken back after it became
 * payable. A pure function; every amount is exact, in minor units, rounded half to even once a line.
 *
 * <p>Times are milliseconds since the Unix epoch, UTC.
 */
public record Settlement(
        String state,
        String reason,
        long commissionMinor,
        Long keptQuantity,
        Long confirmedAtMs,
        Long payableFromMs,
        Long payableUntilMs,
        List<Clawback> clawbacks) {
    private static final long DAY_MS = 86_400_000;
    private static final BigInteger BASIS_POINTS = BigInteger.valueOf(10_000);

    /** Commission taken back after the line became payable; the amount is not above 0. */
    public record Clawback(long atMs, long quantity, long amountMinor) {}

    /** Pieces that go back, or never went out. */
    public record Return(long atMs, long quantity) {}

    /** A line of the order's last version. {@code takenOutAtMs} is set if that version has no such line. */
    public record Line(long quantity, long valueMinor, List<Return> returns, Long takenOutAtMs) {}

    /** When the order was delivered and cancelled; null if it was not. */
    public record Progress(Long completedAtMs, Long cancelledAtMs) {}

    /** Days after delivery: 14, 21 and 30 by the rules of the programme. */
    public record Days(long confirm, long payableFrom, long payableUntil) {}

    /** Pieces that are taken from a line at a moment, and whether a cancellation takes them. */
    private record Taken(long atMs, long quantity, boolean byCancellation) {}

    /** The settlement of a line that nobody is credited for. */
    public static Settlement rejected(String reason) {
        return new Settlement("rejected", reason, 0, null, null, null, null, List.of());
    }

    /** The settlement of a credited line as of a time; what is dated later is not known yet. */
    public static Settlement credited(long asOfMs, long rateBp, Line line, Progress progress, Days days) {
        Long completed = known(progress.completedAtMs, asOfMs);
        long payableFrom = completed == null ? Long.MAX_VALUE : completed + days.payableFrom * DAY_MS;
        long kept = line.quantity;
        Taken last = null;
        List<Clawback> clawbacks = new ArrayList<>();
        List<Taken> all = taken(asOfMs, line, progress);
        int next = 0;
        for (; next < all.size() && all.get(next).atMs < payableFrom && kept > 0; next++) {
            last = all.get(next);
            kept -= Math.min(kept, last.quantity);
        }
        if (kept == 0) {
            boolean delivered = completed != null && last.atMs >= completed;
            return new Settlement(delivered ? "reversed" : "rejected",
                    last.byCancellation ? "order_cancelled" : "returned", 0, 0L, null, null, null, List.of());
        }
        long left = kept;
        for (; next < all.size() && left > 0; next++) {
            Taken take = all.get(next);
            if (take.atMs < payableFrom) {
                continue;
            }
            long after = left - Math.min(left, take.quantity);
            long amount = commission(line, after, rateBp) - commission(line, left, rateBp);
            addClawback(clawbacks, new Clawback(take.atMs, left - after, amount));
            left = after;
        }
        long commission = commission(line, kept, rateBp);
        if (completed == null) {
            return new Settlement("pending", "last_click", commission, kept, null, null, null, List.of());
        }
        long confirmed = completed + days.confirm * DAY_MS;
        String state = asOfMs < confirmed ? "pending" : asOfMs < payableFrom ? "confirmed" : "payable";
        return new Settlement(state, "last_click", commission, kept, confirmed, payableFrom,
                completed + days.payableUntil * DAY_MS, List.copyOf(clawbacks));
    }

    /** value × kept × rate ÷ (quantity × 10 000), half to even. The product exceeds 64 bits. */
    static long commission(Line line, long kept, long rateBp) {
        BigInteger share = BigInteger.valueOf(line.valueMinor).multiply(BigInteger.valueOf(kept))
                .multiply(BigInteger.valueOf(rateBp));
        BigInteger whole = BigInteger.valueOf(line.quantity).multiply(BASIS_POINTS);
        BigInteger[] parts = share.divideAndRemainder(whole);
        int half = parts[1].shiftLeft(1).compareTo(whole);
        boolean up = half > 0 || half == 0 && parts[0].testBit(0);
        return (up ? parts[0].add(BigInteger.ONE) : parts[0]).longValueExact();
    }

    /** What is taken from the line until the time, earliest first; at one moment the cancellation takes what is left. */
    private static List<Taken> taken(long asOfMs, Line line, Progress progress) {
        List<Taken> all = new ArrayList<>();
        for (Return back : line.returns) {
            if (back.atMs <= asOfMs) {
                all.add(new Taken(back.atMs, back.quantity, false));
            }
        }
        if (known(line.takenOutAtMs, asOfMs) != null) {
            all.add(new Taken(line.takenOutAtMs, line.quantity, false));
        }
        if (known(progress.cancelledAtMs, asOfMs) != null) {
            all.add(new Taken(progress.cancelledAtMs, line.quantity, true));
        }
        all.sort(Comparator.comparingLong(Taken::atMs).thenComparing(Taken::byCancellation));
        return all;
    }

    /** One clawback a moment. */
    private static void addClawback(List<Clawback> clawbacks, Clawback added) {
        int last = clawbacks.size() - 1;
        if (last >= 0 && clawbacks.get(last).atMs == added.atMs) {
            Clawback before = clawbacks.get(last);
            clawbacks.set(last, new Clawback(added.atMs, before.quantity + added.quantity,
                    before.amountMinor + added.amountMinor));
        } else if (added.quantity > 0) {
            clawbacks.add(added);
        }
    }

    private static Long known(Long atMs, long asOfMs) {
        return atMs == null || atMs > asOfMs ? null : atMs;
    }
}
