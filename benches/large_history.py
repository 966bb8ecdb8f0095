"""Queries over a history of many days, beside a pipeline that adds to it.

Usage: python large_history.py FRESNEL FOLDER [DAYS]

Records an hour of the simulated flat, repeats it for DAYS (90) with other times, one file an hour, and starts a
pipeline that appends to the same table. Then measures, over HTTP: the scan of an hour somewhere in the history, the
first page of `pose/history`, and both for 20 clients at once; and how long records of the pipeline take meanwhile.
FOLDER keeps the history for the next time; 90 days have 13 GB. Needs deltalake, numpy and pyarrow.
"""

import json
import random
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.transaction import AddAction
from pyarrow import parquet

TIME = "captured_at_ns"
# About four megabytes, as the pipeline writes them, and the most rows of a page by default: so a group has one page of
# times.
ROWS_OF_GROUP = 20_000
HOUR_NS = 3600 * 10**9
START_S = 1_787_616_000
ROOT = Path(__file__).resolve().parent.parent
CLIENTS = 20


def pipeline(name, source, path):
    return f"""
name = "{name}"
api = {{ listen = "127.0.0.1:0", auth = "off" }}
sources.room = {{ type = "simulate", scene = "{ROOT}/pipelines/scenes/flat.toml", {source} }}
operators.zones = {{ type = "zones", inputs = ["room.truth"], zones.hall.coordinates = [[0, 0], [9, 0], [9, 9], [0, 9]] }}
sinks.history = {{ type = "delta", inputs = ["zones.people"], path = "{path}" }}
sinks.live = {{ type = "live", inputs = ["zones.people"] }}
"""


def record(program, folder, days):
    """Makes the history, unless it is there."""
    path = folder / "history" / "poses"
    if path.exists():
        return
    (folder / "hour.toml").write_text(
        pipeline("hour", f'duration = "1h", starts_at_s = {START_S}', "hour")
    )
    subprocess.run([program, "run", "hour.toml"], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    recorded = DeltaTable(folder / "hour" / "poses")
    hour = Hour(folder, recorded.to_pyarrow_table().sort_by(TIME))
    table = DeltaTable.create(path, recorded.schema())
    for day in range(days):
        hours = range(day * 24, day * 24 + 24)
        table.create_write_transaction([hour.repeated(path, nth) for nth in hours], "append", table.schema())
        print(f"{day + 1} of {days} days", end="\r", file=sys.stderr)
    table.create_checkpoint()
    print(file=sys.stderr)


class Hour:
    """The file of an hour, whose times are plain: those of other hours are written over them."""

    def __init__(self, folder, rows):
        path = folder / "hour.parquet"
        others = [name for name in rows.schema.names if name != TIME]
        compression = {TIME: "NONE"} | dict.fromkeys(columns(rows.schema), "SNAPPY")
        parquet.write_table(
            rows,
            path,
            ROWS_OF_GROUP,
            use_dictionary=others,
            compression=compression,
            write_page_index=True,
        )
        self.bytes, self.n_rows = path.read_bytes(), len(rows)
        self.first, self.last = (rows[TIME][nth].as_py() for nth in (0, -1))
        self.groups = []
        metadata = parquet.ParquetFile(path).metadata
        # The page index and the footer come after all rows.
        self.end_of_rows = 0
        for group in (metadata.row_group(nth) for nth in range(metadata.num_row_groups)):
            column = group.column(rows.schema.get_field_index(TIME))
            start, n_bytes = column.data_page_offset, column.total_compressed_size
            self.groups.append((start, start + n_bytes, group.num_rows, column.statistics))
            last = group.column(group.num_columns - 1)
            offset = last.dictionary_page_offset or last.data_page_offset
            self.end_of_rows = offset + last.total_compressed_size

    def repeated(self, table, nth):
        """Writes the file of an hour, and returns how a transaction adds it."""
        shift, data = nth * HOUR_NS, bytearray(self.bytes)
        for start, end, n_rows, statistics in self.groups:
            np.frombuffer(data, "<i8", n_rows, end - 8 * n_rows)[:] += shift
            for bound in (statistics.min, statistics.max):
                before, after = (time.to_bytes(8, "little") for time in (bound, bound + shift))
                # The header of the page, the page index and the footer.
                for place in (slice(start, end - 8 * n_rows), slice(self.end_of_rows, len(data))):
                    data[place] = data[place].replace(before, after)
        name = f"hour-{nth}.parquet"
        (table / name).write_bytes(data)
        bounds = {"minValues": {TIME: self.first + shift}, "maxValues": {TIME: self.last + shift}}
        statistics = json.dumps({"numRecords": self.n_rows, "nullCount": {TIME: 0}} | bounds)
        return AddAction(name, len(data), {}, 0, True, statistics)


def columns(schema):
    """The paths of the other columns, as Parquet names those of lists and structs."""

    def leaves(path, kind):
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            return leaves(f"{path}.list.element", kind.value_type)
        if pa.types.is_struct(kind):
            return [leaf for field in kind for leaf in leaves(f"{path}.{field.name}", field.type)]
        return [path]

    return [leaf for field in schema if field.name != TIME for leaf in leaves(field.name, field.type)]


class Server:
    def __init__(self, program, folder):
        (folder / "live.toml").write_text(pipeline("live", 'speed = "recorded"', "history"))
        self.child = subprocess.Popen(
            [program, "run", "live.toml"], cwd=folder, stderr=subprocess.PIPE, text=True
        )
        for line in self.child.stderr:
            if found := re.search(r"listening on (http://\S+)", line):
                self.url = found[1]
                break
        threading.Thread(target=self.child.stderr.read, daemon=True).start()

    def ask(self, path, body=None):
        data = body and json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json"} if body else {}
        )
        started = time.perf_counter()
        urllib.request.urlopen(request, timeout=60).read()
        return time.perf_counter() - started

    def latencies(self):
        """The cumulative counts of the latency of the live sink, by bound."""
        text = urllib.request.urlopen(self.url + "/metrics").read().decode()
        name = r'fresnel_latency_seconds_bucket\{component="live",le="([^"]+)"\} (\d+)'
        return {float(le): int(n) for le, n in re.findall(name, text)}


def p99(before, after):
    """The bound below which 99 of 100 of the records between two looks are."""
    total = after[float("inf")] - before.get(float("inf"), 0)
    return next((le for le, n in after.items() if n - before.get(le, 0) >= 0.99 * total), None)


def span(days):
    start = datetime.fromtimestamp(START_S, timezone.utc)
    start += timedelta(hours=random.randrange(days * 24))
    return [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (start, start + timedelta(hours=1))]


def scan(server, days):
    sql = (
        "SELECT person, count(*), avg(x_m) FROM persons "
        "WHERE captured_at >= $1 AND captured_at < $2 GROUP BY person"
    )
    return server.ask("/api/v1/sql", {"q": sql, "params": span(days)})


def page(server, days):
    start, end = span(days)
    return server.ask(f"/api/v1/pose/history?start_time={start}&end_time={end}")


def figures(name, times):
    times = sorted(times)
    p50, p95 = statistics.median(times), times[int(len(times) * 0.95)]
    print(f"{name}: p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms of {len(times)}")


def main():
    program, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    days = int(sys.argv[3]) if len(sys.argv) > 3 else 90
    folder.mkdir(parents=True, exist_ok=True)
    random.seed(1)
    record(program, folder, days)
    n_bytes = sum(file.stat().st_size for file in (folder / "history").rglob("*.parquet"))
    print(f"{days} days, {n_bytes / 1e9:.1f} GB")
    server = Server(program, folder)
    try:
        time.sleep(10)
        before = server.latencies()
        time.sleep(30)
        alone = p99(before, server.latencies())
        scan(server, days)
        figures("an hour", [scan(server, days) for _ in range(50)])
        page(server, days)
        figures("first page", [page(server, days) for _ in range(50)])
        times, before = [], server.latencies()

        def client():
            # A client has two queries at once; the others are refused, and ask again.
            for _ in range(5):
                while True:
                    try:
                        times.append(scan(server, days))
                        break
                    except urllib.error.HTTPError as error:
                        if error.code != 429:
                            raise
                        time.sleep(0.05)

        clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
        [it.start() for it in clients]
        [it.join() for it in clients]
        figures(f"an hour, {CLIENTS} clients at once", times)
        print(f"p99 of the pipeline: {alone} s alone, {p99(before, server.latencies())} s meanwhile")
    finally:
        server.child.terminate()
        server.child.wait()


if __name__ == "__main__":
    main()
