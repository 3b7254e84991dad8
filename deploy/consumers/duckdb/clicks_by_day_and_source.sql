-- Clicks of each day (UTC) and source; `countable` are the first taps of people on live links that are no test links.
SELECT strftime(clicked_at, '%Y-%m-%d') AS day, source, count(*) AS clicks, count(*) FILTER (countable) AS countable
FROM click
GROUP BY ALL
ORDER BY day, source;
