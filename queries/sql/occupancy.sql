-- How many people were in each zone, in each interval.
--
-- $start_ns, $end_ns: the span, in nanoseconds since the Unix epoch
-- $interval_ns: the length of an interval
-- $zone: only this zone, or NULL
WITH people AS (
    SELECT captured_at_ns - captured_at_ns % $interval_ns AS interval_starts_at_ns, captured_at_ns, source, zone, person
    FROM persons
    WHERE captured_at_ns >= $start_ns AND captured_at_ns < $end_ns
        AND zone IS NOT NULL AND ($zone IS NULL OR zone = $zone)
),
frames AS (
    SELECT interval_starts_at_ns, zone, count(*) AS n_persons
    FROM people
    GROUP BY interval_starts_at_ns, zone, captured_at_ns, source
),
busiest AS (
    SELECT interval_starts_at_ns, zone, max(n_persons) AS max_persons, avg(n_persons) AS average_persons
    FROM frames
    GROUP BY interval_starts_at_ns, zone
)
SELECT
    people.interval_starts_at_ns,
    people.zone AS zone_id,
    count(DISTINCT people.person) AS n_persons,
    max(busiest.max_persons) AS max_persons,
    max(busiest.average_persons) AS average_persons_when_occupied
FROM people
JOIN busiest
    ON busiest.interval_starts_at_ns = people.interval_starts_at_ns AND busiest.zone = people.zone
GROUP BY people.interval_starts_at_ns, people.zone
ORDER BY interval_starts_at_ns, zone_id
