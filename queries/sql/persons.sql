-- The people who were detected in a time span, most recent first. The id of a person is unique within a site.
--
-- $start_ns, $end_ns: the span, in nanoseconds since the Unix epoch
-- $person: only this person, or NULL
-- $zone: only people who were in this zone, or NULL
-- $min_confidence: only people with at least this mean confidence
-- $before_ns, $after: continues after the person (`site/person`) who was seen at that time, or NULL
SELECT
    site,
    person AS person_id,
    min(captured_at_ns) AS first_seen_ns,
    max(captured_at_ns) AS last_seen_ns,
    last_value(zone ORDER BY captured_at_ns) AS current_zone,
    avg(confidence) AS average_confidence,
    array_agg(DISTINCT activity ORDER BY activity) FILTER (WHERE activity IS NOT NULL)
        AS detected_activities,
    count(*) AS n_frames
FROM persons
WHERE captured_at_ns >= $start_ns AND captured_at_ns < $end_ns
    AND ($person IS NULL OR person = $person)
GROUP BY site, person
HAVING ($zone IS NULL OR bool_or(zone = $zone))
    AND avg(confidence) >= $min_confidence
    AND ($before_ns IS NULL
        OR max(captured_at_ns) < $before_ns
        OR max(captured_at_ns) = $before_ns AND site || '/' || person > $after)
ORDER BY last_seen_ns DESC, site || '/' || person
