"""Count and mean confidence by device and second, with Flink SQL: IN OUT."""

import os
import sys

from pyflink.table import EnvironmentSettings, TableEnvironment

source, destination = (os.path.abspath(path) for path in sys.argv[1:])
tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
tables.get_config().set("parallelism.default", "1")
tables.get_config().set("table.local-time-zone", "UTC")
tables.execute_sql(f"""
    CREATE TABLE events (
        ts_ms BIGINT, device_id STRING, confidence DOUBLE,
        happened_at AS TO_TIMESTAMP_LTZ(ts_ms, 3),
        WATERMARK FOR happened_at AS happened_at - INTERVAL '0.2' SECOND
    ) WITH ('connector' = 'filesystem', 'path' = 'file://{source}', 'format' = 'json')""")
tables.execute_sql(f"""
    CREATE TABLE windows (device_id STRING, starts_at TIMESTAMP(3), `count` BIGINT, mean DOUBLE)
    WITH ('connector' = 'filesystem', 'path' = 'file://{destination}', 'format' = 'json')""")
tables.execute_sql("""
    INSERT INTO windows
    SELECT device_id, window_start, COUNT(*), AVG(confidence)
    FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(happened_at), INTERVAL '1' SECOND))
    GROUP BY device_id, window_start, window_end""").wait()
