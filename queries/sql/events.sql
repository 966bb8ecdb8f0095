-- How many events there were of each type, in each interval and zone.
--
-- $start_ns, $end_ns: the span, in nanoseconds since the Unix epoch
-- $interval_ns: the length of an interval
-- $zone: only this zone, or NULL
SELECT
    occurred_at_ns - occurred_at_ns % $interval_ns AS interval_starts_at_ns,
    zone AS zone_id,
    type AS event,
    count(*) AS n_events,
    count(DISTINCT subject) AS n_subjects
FROM events
WHERE occurred_at_ns >= $start_ns AND occurred_at_ns < $end_ns
    AND ($zone IS NULL OR zone = $zone)
GROUP BY interval_starts_at_ns, zone, type
ORDER BY interval_starts_at_ns, zone_id, event
