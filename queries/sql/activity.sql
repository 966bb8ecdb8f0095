-- How long people did what, in each interval.
--
-- $start_ns, $end_ns: the span, in nanoseconds since the Unix epoch
-- $interval_ns: the length of an interval; a window counts in the interval in which it starts
-- $person: only this person, or NULL
-- $zone: only this zone, or NULL
SELECT
    starts_at_ns - starts_at_ns % $interval_ns AS interval_starts_at_ns,
    zone AS zone_id,
    activity,
    count(DISTINCT subject) AS n_persons,
    sum(ends_at_ns - starts_at_ns) / 1e9 AS seconds,
    avg(confidence) AS average_confidence
FROM activities
WHERE starts_at_ns >= $start_ns AND starts_at_ns < $end_ns
    AND ($person IS NULL OR subject = $person)
    AND ($zone IS NULL OR zone = $zone)
GROUP BY interval_starts_at_ns, zone, activity
ORDER BY interval_starts_at_ns, zone_id, activity
