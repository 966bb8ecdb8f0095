"""Queries over a history of many days, beside a pipeline that adds to it.

Usage: python large_history.py FRESNEL FOLDER [DAYS]

Records an hour of the simulated flat, repeats it for DAYS (90) with other times, one file an hour, and starts a
pipeline that appends to the same table. Then measures, over HTTP: the scan of an hour somewhere in the history, the
first page of `pose/history`, and both for 20 clients at once; and how long records of the pipeline take meanwhile.
FOLDER keeps the history for the next time; 90 days have 11 GB. Needs deltalake and pyarrow.
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

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

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
    table = folder / "history" / "poses"
    if table.exists():
        return
    (folder / "hour.toml").write_text(
        pipeline("hour", f'duration = "1h", starts_at_s = {START_S}', "hour")
    )
    subprocess.run([program, "run", "hour.toml"], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    hour = DeltaTable(folder / "hour" / "poses").to_pyarrow_table().sort_by("captured_at_ns")
    times = hour.schema.get_field_index("captured_at_ns")
    for day in range(days):
        hours = []
        for nth in range(24):
            shift = (day * 24 + nth) * HOUR_NS
            shifted = pa.compute.add(hour["captured_at_ns"], shift)
            hours.append(hour.set_column(times, hour.schema.field(times), shifted))
        for part in hours:
            write_deltalake(table, part, mode="append")
        print(f"{day + 1} of {days} days", end="\r", file=sys.stderr)
    print(file=sys.stderr)


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
