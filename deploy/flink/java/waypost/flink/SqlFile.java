package waypost.flink;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The statements of a {@code .sql} file. */
final class SqlFile {
    /** A statement without its comments, and the line on which it begins. */
    record Statement(Path file, int line, String text) {
        boolean isInsert() {
            return text.regionMatches(true, 0, "INSERT ", 0, 7);
        }

        String where() {
            return file + ":" + line;
        }
    }

    private SqlFile() {}

    /** Splits at each semicolon that stands outside of quotes; drops {@code --} comments outside of quotes. */
    static List<Statement> statements(Path file) throws IOException {
        String text = Files.readString(file);
        List<Statement> statements = new ArrayList<>();
        StringBuilder current = new StringBuilder();
        char quote = 0;
        int line = 1;
        int begins = 1;
        for (int at = 0; at < text.length(); at++) {
            char sign = text.charAt(at);
            if (quote == 0 && sign == '-' && text.startsWith("--", at)) {
                at = text.indexOf('\n', at);
                at = at < 0 ? text.length() : at - 1;
                continue;
            }
            if (sign == '\n') {
                line++;
            }
            if (quote == 0 && sign == ';') {
                addStatement(statements, file, begins, current);
                continue;
            }
            if (current.isEmpty()) {
                if (Character.isWhitespace(sign)) {
                    continue;
                }
                begins = line;
            }
            current.append(sign);
            if (quote == 0 && (sign == '\'' || sign == '`')) {
                quote = sign;
            } else if (sign == quote) {
                quote = 0;
            }
        }
        addStatement(statements, file, begins, current);
        return statements;
    }

    private static void addStatement(List<Statement> statements, Path file, int line, StringBuilder text) {
        if (!text.isEmpty()) {
            statements.add(new Statement(file, line, text.toString().strip()));
            text.setLength(0);
        }
    }
}
