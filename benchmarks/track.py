"""`python -m benchmarks.track RUN_DIR [--uri URI]`: send MLflow what it lacks of a run.

Nothing is sent twice: what is there already is found. A run sends by itself; this is for what waited at its end because
the server was away, and for a copy of a run at another place.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

from benchmarks.tracking.delivery import Delivery, Unsent
from benchmarks.tracking.queue import Event, Queue, destination, last_destination, without_password
from patchvsr.errors import UserError

POLL = 1.0
"""Seconds between two looks at the queue of a run that goes on;"""
SLOWEST = 30.0
"""after failures more and more, up to this."""
PATIENCE = 20.0
"""Seconds to wait for another process that is sending."""
ATTEMPTS = 3
"""Of sending to a database file when the run has ended."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.track", description=__doc__)
    made.add_argument("run", metavar="RUN_DIR", type=Path, help="run directory of benchmarks.run")
    made.add_argument("--uri", help="sqlite:///FILE.db or http(s)://SERVER (default: where it was last sent, then "
                      "MLFLOW_TRACKING_URI, then mlflow.db beside the run directory)")  # fmt: skip
    made.add_argument("--follow", action="store_true", help=argparse.SUPPRESS)  # of benchmarks.run
    return made


def _destination(root: Path, uri: str | None) -> str:
    last, known = last_destination(root), os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None and last is not None and (known is None or without_password(destination(root, known)) != last):
        return destination(root, last)
    return destination(root, uri)


def replay(root: Path, uri: str | None) -> str:
    """Send what is not sent yet; a sentence that says how much that was, and where.

    Raises:
        UserError: there is nothing to send from, or something could not be sent.
    """
    queue = Queue(root)
    if not queue.path.is_file():
        raise UserError(f"'{root}' has no {queue.path.relative_to(root)}; give the --out of a benchmarks.run")
    to = _destination(root, uri)
    try:
        sent = (delivery := Delivery(root, to)).send(PATIENCE)
    except Unsent as error:
        raise UserError(f"not everything could be sent to {without_password(to)}, the rest waits: {error}") from error
    left = delivery.damaged + delivery.orphans.total()
    told = f"{without_password(to)}: {sent} events sent, {queue.count() - sent - left} were there already"
    return f"{told}; {delivery.left_out()}" if left else told


def follow(root: Path, told: BinaryIO) -> None:
    """Send the events of a run that goes on, until it tells that it ends or its process is gone."""
    os.nice(10)  # the run is measured
    job = json.loads(told.readline())
    ended = threading.Event()
    last_words: list[bytes] = []

    def listen() -> None:
        last_words.append(told.readline())
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    delivery, pause = Delivery(root, job["uri"], job["invocation"]), POLL
    while not ended.wait(pause):
        pause = POLL if _sent(delivery) else min(2 * pause, SLOWEST)
    if not last_words[0]:
        Queue(root).append(_killed(job["invocation"]))
    # Another run that makes the same database file at this moment is soon done with it.
    for _ in range(ATTEMPTS if job["uri"].startswith("sqlite") else 1):
        if _sent(delivery, PATIENCE):
            break
        time.sleep(POLL)
    if said := delivery.left_out():
        print(said, file=sys.stderr, flush=True)


def _sent(delivery: Delivery, patience: float = 0.0) -> bool:
    """Send, and print what goes wrong; whether everything was sent."""
    try:
        delivery.send(patience)
    except (Unsent, UserError) as error:
        print(error, file=sys.stderr, flush=True)
        return False
    return True


def _killed(invocation: str) -> Event:
    now = time.time_ns() // 1_000_000
    about = {"status": "KILLED", "variants": {}, "means": {}, "missing": {}, "files": {}}
    return {"kind": "ended", "invocation": invocation, "time": now, **about}


def main(argv: list[str] | None = None) -> int:
    """Run the command line; exit code 2 with a sentence where something could not be sent."""
    args = parser().parse_args(argv)
    try:
        if args.follow:
            follow(args.run, sys.stdin.buffer)
        else:
            print(replay(args.run, args.uri))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
