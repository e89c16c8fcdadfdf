"""The background process that serves one model: ``python -m rolecall.models.embedded.server``.

It ends by itself when idle, on SIGTERM, or when its lock or its model is not to be had; the
runner starts it and reads its record.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import psutil

from rolecall.models.embedded.activity import Activity, read_activity
from rolecall.models.embedded.records import (
    EXIT_LOCKED,
    Record,
    file_of,
    hold_lock,
    remove_record,
    write_record,
)

_PROMPT_CACHE_MIB = 256
_SILENT_READINGS_UNTIL_DEAD = 12
_WARNINGS = 2


def main(arguments: list[str] | None = None) -> int:
    """Load the model, serve it, and return when it is idle or asked to stop."""
    options = _parse(arguments)
    lock = hold_lock(options.model_id)
    if lock is None:
        print(f"another process serves {options.model_id}", file=sys.stderr)  # noqa: T201
        return EXIT_LOCKED
    record = Record(
        model=options.model_id,
        pid=os.getpid(),
        process_created=psutil.Process().create_time(),
        port=0,
        api_key=secrets.token_urlsafe(24),
        context_length=options.context,
        started_at=time.time(),
    )
    write_record(record)
    try:
        server = _load(options, record.api_key)
        port = urlsplit(str(server.listening_address)).port
        assert port is not None
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        record = replace(record, port=port)
        write_record(record)
        _wait_until_idle(record, options.idle_s, stop)
    finally:
        remove_record(options.model_id, os.getpid())
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m rolecall.models.embedded.server")
    parser.add_argument("--model-id", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens")
    parser.add_argument("--parallel", type=int, default=4, help="requests at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--idle-s", type=float, default=900.0, help="seconds")
    return parser.parse_args(arguments)


def _load(options: argparse.Namespace, api_key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.path
    params.model_alias = {options.model_id}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.ui = False
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.use_jinja = True
    params.verbosity = _WARNINGS
    params.n_ctx = options.context
    params.n_parallel = options.parallel
    params.kv_unified = True  # a lone request may use the whole context, not a slot's share
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    for threads in (params.cpuparams, params.cpuparams_batch):
        threads.n_threads = options.threads
        threads.poll = 0  # waiting threads sleep: spinning takes the cores from other processes
    return xllamacpp.Server(params)


def _wait_until_idle(record: Record, idle_s: float, stop: threading.Event) -> None:
    pause = min(5.0, max(0.2, idle_s / 4))
    last: Activity | None = None
    last_use = time.monotonic()
    last_touch = _touched(record.model)
    silent = 0
    while not stop.wait(pause):
        now = read_activity(record.port, record.api_key)
        silent = silent + 1 if now is None else 0
        if silent >= _SILENT_READINGS_UNTIL_DEAD:
            return
        touch = _touched(record.model)
        if now is None or now.busy or now != last or touch != last_touch:
            last_use = time.monotonic()
        last, last_touch = now, touch
        if time.monotonic() - last_use >= idle_s:
            return


def _touched(model: str) -> float:
    """When the record was last touched: the runner does so when it hands the server out."""
    try:
        return file_of(model, "json").stat().st_mtime
    except OSError:
        return 0.0


if __name__ == "__main__":
    code = main()
    # llama.cpp's own shutdown waits for open streams; nobody reads them any more
    os._exit(code)
