package waypost.flink;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.flink.shaded.jackson2.com.fasterxml.jackson.databind.node.ArrayNode;

/** A generated buyer: one phone, which taps links of a real server and keeps its cookie and the tokens it was given. */
final class Buyer {
    private static final List<String> PHONES = List.of(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
                    + " Mobile/15E148 Instagram 334.0.4.32.98 (iPhone14,5; iOS 17_5_1; en_US; en; scale=3.00;"
                    + " 1170x2532; 607520423)",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
                    + " Version/17.5 Mobile/15E148 Safari/604.1",
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0"
                    + " Mobile Safari/537.36");
    private static final Pattern TOKEN = Pattern.compile("[?&]wp=([^&#]+)");
    private static final Pattern COOKIE = Pattern.compile("((?:__Host-)?wp)=([^;]+)");
    private static final ObjectMapper JSON = new ObjectMapper();

    private final HttpClient client =
            HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NEVER).version(HttpClient.Version.HTTP_1_1).build();
    private final String phone;
    private final Set<String> urlTokens = new LinkedHashSet<>();
    private String cookieName;
    private String cookie;

    Buyer(int number) {
        phone = PHONES.get(number % PHONES.size());
    }

    /** Taps a link, and takes the token from the destination's URL and the cookie, as a shop and a phone do. */
    void tap(String server, String code) throws IOException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(server + "/" + code))
                .header("User-Agent", phone).header("Accept-Language", "en-US").header("Accept", "text/html");
        if (cookie != null) {
            request.header("Cookie", cookieName + "=" + cookie);
        }
        HttpResponse<Void> answer = client.send(request.build(), HttpResponse.BodyHandlers.discarding());
        if (answer.statusCode() != 302) {
            throw new IOException(server + "/" + code + " answered " + answer.statusCode() + ", not 302");
        }
        Matcher token = TOKEN.matcher(answer.headers().firstValue("Location").orElse(""));
        if (token.find()) {
            urlTokens.add(token.group(1));
        }
        for (String header : answer.headers().allValues("Set-Cookie")) {
            Matcher set = COOKIE.matcher(header);
            if (set.lookingAt()) {
                cookieName = set.group(1);
                cookie = set.group(2);
            }
        }
    }

    /** What {@code waypost token verify --json} says of each token and of the cookie. */
    ArrayNode verifiedTokens(String waypost, String dataDirectory) throws IOException, InterruptedException {
        List<String> command =
                new ArrayList<>(List.of(waypost, "token", "verify", "--json", "--data-dir", dataDirectory));
        command.addAll(urlTokens);
        if (cookie != null) {
            command.add(cookie);
        }
        Process verify = new ProcessBuilder(command).redirectErrorStream(false).start();
        String said = new String(verify.getInputStream().readAllBytes());
        if (verify.waitFor() != 0) {
            throw new IOException("waypost token verify: " + new String(verify.getErrorStream().readAllBytes()) + said);
        }
        ArrayNode tokens = JSON.createArrayNode();
        for (String line : said.lines().toList()) {
            tokens.add(JSON.readTree(line));
        }
        return tokens;
    }
}
