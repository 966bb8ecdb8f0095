"""Count and mean confidence by device and second, with Bytewax: IN OUT."""

import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import bytewax.operators as op
import orjson
from bytewax.connectors.files import FileSink, FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from bytewax.testing import run_main

source, destination = sys.argv[1:]
epoch = datetime(2026, 1, 1, tzinfo=timezone.utc)


def event_time(event):
    return epoch + timedelta(milliseconds=event["ts_ms"] - 1_767_225_600_000)


def add(gathered, event):
    return (gathered[0] + 1, gathered[1] + event["confidence"])


def merge(some, more):
    return (some[0] + more[0], some[1] + more[1])


def line(item):
    device, (window, (count, total)) = item
    told = {"device_id": device, "window": window, "count": count, "mean": total / count}
    return device, json.dumps(told)


flow = Dataflow("tumbling")
lines = op.input("lines", flow, FileSource(source, batch_size=1000))
events = op.map("parse", lines, orjson.loads)
keyed = op.key_on("by_device", events, lambda event: event["device_id"])
clock = windowing.EventClock(event_time, wait_for_system_duration=timedelta(milliseconds=200))
seconds = windowing.TumblingWindower(length=timedelta(seconds=1), align_to=epoch)
windows = windowing.fold_window(
    "windows", keyed, clock, seconds, lambda: (0, 0.0), add, merge
)
op.output("out", op.map("line", windows.down, line), FileSink(Path(destination)))
run_main(flow)
