"""The latency of a pipeline while eight clients send the worst queries.

Usage: python hostile_queries.py FRESNEL [ROUNDS]

Starts a pipeline of the simulated flat, and measures a minute alone, a minute with eight clients over HTTP, and a
minute with eight clients over the PostgreSQL port; ROUNDS (3) times, in turn. Prints the latencies of all rounds, how
the queries ended, and the peak memory of the server. Needs psycopg.
"""

import collections
import http.client
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
MINUTE_S = 60
CLIENTS = 8
TOO_MANY = "53300"
PIPELINE = f"""
name = "flat"
api = {{ listen = "127.0.0.1:0", auth = "off", postgres = {{ listen = "127.0.0.1:0" }} }}
sources.room = {{ type = "simulate", scene = "{ROOT}/pipelines/scenes/flat.toml", speed = "recorded" }}
operators.motion = {{ type = "motion", inputs = ["room"] }}
operators.zones = {{ type = "zones", inputs = ["room.truth"], zones.hall.coordinates = [[0, 0], [9, 0], [9, 9], [0, 9]] }}
sinks.history = {{ type = "delta", inputs = ["zones.people", "motion"], path = "history" }}
sinks.live = {{ type = "live", inputs = ["zones.people", "zones", "motion"] }}
"""
DOUBLED = "".join(f", c{n} AS (SELECT * FROM c{n - 1} UNION ALL SELECT * FROM c{n - 1})" for n in range(1, 28))
QUERIES = [
    "SELECT " + "ARRAY[" * 40 + "1 1" + "]" * 40,
    "SELECT " + "ARRAY[" * 8 + "1 1" + "]" * 8,
    "SELECT repeat('a', 2000000000)",
    "SELECT repeat('a', 100000) || v FROM generate_series(1, 1000000) t(v)",
    f"WITH c0 AS (SELECT repeat('x', 100) AS a){DOUBLED} SELECT a FROM c27 ORDER BY a",
    "SELECT count(*) FROM generate_series(1, 100000000000)",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, "
    "generate_series(1, 100000) c WHERE a.value + b.value + c.value = 0",
    "SELECT a.value, b.value FROM generate_series(1, 100000) a, generate_series(1, 100000) b "
    "ORDER BY b.value, a.value",
    "SELECT array_agg(value) FROM generate_series(1, 10000000000)",
    "SELECT 1" + "+1" * 20000,
    " UNION ALL ".join(["SELECT 1"] * 3000),
    "SELECT repeat('a', 10000) FROM generate_series(1, 99000)",
]


class Server:
    def __init__(self, program, folder):
        (folder / "flat.toml").write_text(PIPELINE)
        self.child = subprocess.Popen(
            [program, "run", "flat.toml"], cwd=folder, stderr=subprocess.PIPE, text=True
        )
        ports, said = {}, ""
        for line in self.child.stderr:
            said += line
            if found := re.search(r"listening on (http|postgres)://127.0.0.1:(\d+)", line):
                ports[found[1]] = int(found[2])
            if len(ports) == 2:
                break
        if len(ports) < 2:
            sys.exit(said)
        self.http, self.postgres = ports["http"], ports["postgres"]
        threading.Thread(target=self.child.stderr.read, daemon=True).start()

    def latencies(self):
        """The cumulative counts of the latency of the live sink, by bound."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        name = r'fresnel_latency_seconds_bucket\{component="live",le="([^"]+)"\} (\d+)'
        return collections.Counter({float(le): int(n) for le, n in re.findall(name, text)})

    def peak_mib(self):
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) >> 10

    def ask_http(self, client, sql):
        address = (f"127.0.0.{10 + client}", 0)
        connection = http.client.HTTPConnection("127.0.0.1", self.http, source_address=address)
        body = json.dumps({"q": sql, "timeout": "10s"})
        connection.request("POST", "/api/v1/sql", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status

    def ask_postgres(self, client, sql):
        try:
            with psycopg.connect(
                f"host=127.0.0.1 port={self.postgres} user=client{client} options='-c statement_timeout=10s'"
            ) as connection:
                connection.execute(sql).fetchall()
                return "rows"
        except psycopg.Error as error:
            if error.sqlstate == TOO_MANY:
                # By their address, all of them are one client.
                time.sleep(0.2)
            return error.sqlstate or type(error).__name__


def quantile(counts, q):
    """A quantile of a histogram, on the line between the bounds of its bucket."""
    total, below, bound_below = counts[float("inf")], 0, 0.0
    for bound, n in sorted(counts.items()):
        if n >= q * total:
            return bound_below + (bound - bound_below) * (q * total - below) / max(1, n - below)
        below, bound_below = n, bound


def minute(server, ask=None):
    """Returns the counts of a minute, and how the queries of its clients ended."""
    before, ends, deadline = server.latencies(), collections.Counter(), time.time() + MINUTE_S

    def client(number):
        for nth in itertools.count(number):
            if time.time() >= deadline:
                break
            ends[ask(number, QUERIES[nth % len(QUERIES)])] += 1

    threads = [threading.Thread(target=client, args=(nth,)) for nth in range(CLIENTS if ask else 0)]
    [thread.start() for thread in threads]
    time.sleep(deadline - time.time())
    after = server.latencies()
    [thread.join() for thread in threads]
    after.subtract(before)
    return after, ends


def main():
    program, rounds = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, Path(folder))
        # Clients of other machines would leave the CPU of the pipeline alone.
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cpus - {min(cpus)} or cpus)
        try:
            kinds = {"alone": None, "HTTP": server.ask_http, "PostgreSQL": server.ask_postgres}
            time.sleep(10)
            sums = {name: collections.Counter() for name in kinds}
            ends = {name: collections.Counter() for name in kinds}
            idle = server.peak_mib()
            for _ in range(rounds):
                for name, ask in kinds.items():
                    counts, ended = minute(server, ask)
                    sums[name].update(counts)
                    ends[name].update(ended)
            for name, counts in sums.items():
                p50, p99 = (quantile(counts, q) * 1000 for q in (0.5, 0.99))
                n = counts[float("inf")]
                print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms of {n}; {dict(ends[name])}")
            alone = quantile(sums["alone"], 0.99)
            for name in ("HTTP", "PostgreSQL"):
                print(f"p99 beside {name}: {quantile(sums[name], 0.99) / alone:.2f} times that alone")
            print(f"peak memory of the server: {idle} MiB before, {server.peak_mib()} MiB after")
        finally:
            server.child.terminate()
            server.child.wait()


if __name__ == "__main__":
    main()
