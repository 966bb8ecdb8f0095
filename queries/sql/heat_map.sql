-- How often people were in each cell of the plan.
--
-- $start_ns, $end_ns: the span, in nanoseconds since the Unix epoch
-- $zone: only people in this zone, or NULL
-- $cell_m: the side of a cell, in metres
SELECT
    site,
    CAST(floor(x_m / $cell_m) AS BIGINT) AS column,
    CAST(floor(y_m / $cell_m) AS BIGINT) AS row,
    count(*) AS n_frames,
    count(DISTINCT person) AS n_persons
FROM persons
WHERE captured_at_ns >= $start_ns AND captured_at_ns < $end_ns
    AND x_m IS NOT NULL
    AND ($zone IS NULL OR zone = $zone)
GROUP BY site, column, row
ORDER BY site, row, column
