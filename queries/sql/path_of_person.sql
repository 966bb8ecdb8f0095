-- Where a person was, oldest first, once a second.
--
-- $site, $person: the person
-- $start_ns, $end_ns: the span, in nanoseconds since the Unix epoch
SELECT
    first_value(captured_at_ns ORDER BY captured_at_ns) AS captured_at_ns,
    first_value(x_m ORDER BY captured_at_ns) AS x_m,
    first_value(y_m ORDER BY captured_at_ns) AS y_m,
    first_value(zone ORDER BY captured_at_ns) AS zone_id,
    first_value(activity ORDER BY captured_at_ns) AS activity
FROM persons
WHERE site = $site AND person = $person AND captured_at_ns >= $start_ns AND captured_at_ns < $end_ns
GROUP BY captured_at_ns / 1000000000
ORDER BY captured_at_ns
