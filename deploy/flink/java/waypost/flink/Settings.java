package waypost.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The settings of the pipeline: {@code settings.properties}, then {@code NAME=VALUE} of the command line. */
final class Settings {
    private static final Pattern PLACEHOLDER = Pattern.compile("\\$\\{([A-Z_]+)}");
    private static final Pattern DURATION = Pattern.compile("\\d+ (ms|s|min|h|d)");
    private static final Map<String, List<String>> CHOICES = Map.of(
            "SCOPE", List.of("product", "any"),
            "SELF_PURCHASE", List.of("refuse", "credit"),
            "SHARED_TOKEN", List.of("credit", "refuse"),
            "TOKEN_ONLY", List.of("credit", "refuse"),
            "MODE", List.of("continuous", "bounded"),
            "DELIVERY", List.of("exactly-once", "at-least-once"),
            "STATE_BACKEND", List.of("hashmap", "rocksdb"));
    private static final List<String> DURATIONS =
            List.of("CHECKPOINT_INTERVAL", "FLUSH_INTERVAL", "TTL_WINNERS", "TTL_COMMISSIONS", "TTL_STATISTICS");
    private static final List<String> NUMBERS = List.of("CONFIRM_DAYS", "PAYABLE_FROM_DAYS", "PAYABLE_UNTIL_DAYS",
            "AS_OF", "TICK_MS", "PARALLELISM", "TRANSACTION_TIMEOUT_MS");

    private final Map<String, String> values = new LinkedHashMap<>();

    /** A mistake of whoever wrote the settings or the command line. */
    static final class Mistake extends Exception {
        private static final long serialVersionUID = 1;

        Mistake(String message) {
            super(message);
        }
    }

    Settings(Path file, List<String> assignments) throws IOException, Mistake {
        int number = 0;
        for (String line : Files.readAllLines(file)) {
            number++;
            if (!line.isBlank() && !line.startsWith("#")) {
                int equals = line.indexOf('=');
                if (equals < 1) {
                    throw new Mistake(file + ":" + number + ": " + line + ": must be NAME=VALUE");
                }
                values.put(line.substring(0, equals), line.substring(equals + 1));
            }
        }
        for (String assignment : assignments) {
            String[] parts = assignment.split("=", 2);
            if (!values.containsKey(parts[0])) {
                throw new Mistake("there is no setting " + parts[0] + "; " + file + " lists them");
            }
            values.put(parts[0], parts[1]);
        }
        check();
        values.put("SCAN_END", is("MODE", "bounded") ? "latest-offset" : "unbounded");
    }

    String get(String name) {
        return values.get(name);
    }

    long number(String name) {
        return Long.parseLong(values.get(name));
    }

    boolean is(String name, String value) {
        return values.get(name).equals(value);
    }

    /** The text with each {@code ${NAME}} replaced; those of {@code kept} stay. */
    String substitute(String text, String where, List<String> kept) throws Mistake {
        Matcher matcher = PLACEHOLDER.matcher(text);
        StringBuilder result = new StringBuilder();
        while (matcher.find()) {
            String name = matcher.group(1);
            if (!values.containsKey(name)) {
                throw new Mistake(where + ": there is no setting " + name);
            }
            matcher.appendReplacement(result,
                    Matcher.quoteReplacement(kept.contains(name) ? matcher.group() : values.get(name)));
        }
        return matcher.appendTail(result).toString();
    }

    private void check() throws Mistake {
        for (Map.Entry<String, String> entry : values.entrySet()) {
            String name = entry.getKey();
            String value = entry.getValue();
            if (value.contains("'") || value.contains(";") && !name.equals("KAFKA")) {
                throw new Mistake(name + "=" + value + ": a value has no quote and no semicolon");
            }
            List<String> choices = CHOICES.get(name);
            if (choices != null && !choices.contains(value)) {
                throw new Mistake(name + "=" + value + ": must be one of " + String.join(", ", choices));
            }
            if (DURATIONS.contains(name) && !DURATION.matcher(value).matches()) {
                throw new Mistake(name + "=" + value + ": must be a number and a unit, such as 10 s or 29 d");
            }
            if (NUMBERS.contains(name) && !value.matches("\\d{1,16}")) {
                throw new Mistake(name + "=" + value + ": must be a whole number");
            }
        }
        if (number("CONFIRM_DAYS") > number("PAYABLE_FROM_DAYS")
                || number("PAYABLE_FROM_DAYS") > number("PAYABLE_UNTIL_DAYS")) {
            throw new Mistake("CONFIRM_DAYS <= PAYABLE_FROM_DAYS <= PAYABLE_UNTIL_DAYS must hold");
        }
        if (number("TICK_MS") < 1 || number("PARALLELISM") < 1) {
            throw new Mistake("TICK_MS and PARALLELISM must be at least 1");
        }
    }
}
