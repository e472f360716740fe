#!/usr/bin/env python3
"""A worker without an SDK, well-behaved or not, as its first argument says."""

import json
import os
import random
import sys
import time

mode = sys.argv[1]
file = sys.argv[2] if len(sys.argv) > 2 else None
served = 0


def receive():
    """Returns the next frame; ends the program at the end of stdin."""
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit(0)
    kind, number, length = line.decode().split()
    return kind, int(number), sys.stdin.buffer.read(int(length))


def send(kind, number, body=b""):
    """Writes a frame."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    sys.stdout.buffer.write(f"{kind} {number} {len(body)}\n".encode() + body)
    sys.stdout.buffer.flush()


def write_process_id():
    """Renames the finished file into place, so that its readers see all of it."""
    with open(file + ".new", "w", encoding="ascii") as out:
        out.write(f"{os.getpid()}\n")
    os.rename(file + ".new", file)


def first_time():
    """Whether the file did not exist yet; creates it."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def pass_gate():
    """Says by a file that the call has begun, and waits for the file that ends it."""
    global served
    served += 1
    open(f"{file}.{served}.begun", "w", encoding="ascii").close()
    while not os.path.exists(f"{file}.{served}.end"):
        time.sleep(0.01)


def call(number, document):
    """Handles one call."""
    if mode == "random":
        # One of 500 calls crashes, one of 1,000 hangs.
        fate = random.random()
        if fate < 1 / 500:
            os.abort()
        if fate > 1 - 1 / 1000:
            time.sleep(600)
    if mode == "crash" or (mode == "crash_once" and first_time()):
        sys.exit("the address pool is exhausted")
    if mode == "exit":
        sys.exit(0)
    if mode in ("hang", "hang_until_cancelled") or (mode == "hang_once" and first_time()):
        print("still waiting for the switch", file=sys.stderr, flush=True)
        if file and mode == "hang":
            write_process_id()
        while mode == "hang_until_cancelled":
            kind, cancelled, _ = receive()
            if kind == "cancel" and cancelled == number:
                return {"error": "cancelled"}
        while True:
            time.sleep(60)
    if mode == "second_waits":
        # The second call of a process ends after the first call of another process.
        global served
        served += 1
        other = file + ".other"
        if served == 1 and not first_time():
            open(other, "w", encoding="ascii").close()
        while served == 2 and not os.path.exists(other):
            time.sleep(0.01)
    if mode == "gate":
        pass_gate()
    if mode == "garbage":
        print("I am only debugging", flush=True)
    if mode == "large":
        sys.stdout.write(f"answer {number} 1000000000\n")
        sys.stdout.flush()
    if mode == "log":
        send("log", number, b"connecting\nwaiting for an address\n")
        return {"prepared": False}
    if mode == "environment":
        return {"error": " ".join(sorted(os.environ))}
    if mode == "grow":
        global kept
        kept = b"x" * (100 << 20)
    if mode == "invalid_package":
        return {"prepared": True, "package": [{}]}
    if mode == "empty":
        return {}
    if mode in ("prepare", "random"):
        target = document["targetResourceIdentifier"]
        for resource in document["deploymentPackage"]:
            if (resource["kind"], resource["metadata"]["name"]) == (target["kind"], target["name"]):
                resource["metadata"]["annotations"] = {"nephio.org/prepared": "true"}
        return {"prepared": True, "package": document["deploymentPackage"]}
    return {"error": f"process {os.getpid()}"}


def main():
    """Serves calls."""
    if mode == "crash_at_start":
        sys.exit("cannot read pools.yaml")
    if mode == "silent":
        print("starting up", file=sys.stderr, flush=True)
        time.sleep(600)
    if mode == "garbage_at_start":
        print("Hello, world!", flush=True)
    kind, _, body = receive()
    assert kind == "hello", kind
    assert json.loads(body)["protocol"] == 1
    hello = {"protocol": 1, "name": "test", "types": ["prepare", "validate"], "inFlight": 1}
    if mode == "later_version":
        hello["protocol"] = 2
    if mode == "together":
        hello["inFlight"] = 3
    send("hello", 0, hello)
    waiting = []
    while True:
        kind, number, body = receive()
        if kind == "stop":
            if file and mode == "stop":
                open(file, "w", encoding="ascii").close()
            return
        if kind == "ping" and mode != "deaf":
            send("pong", number)
        if kind == "call" and mode == "together":
            waiting.append(number)
            if len(waiting) == 3:
                for number in reversed(waiting):
                    send("answer", number, {"error": "together"})
        elif kind == "call":
            document = json.loads(body)
            answer = b"{{{ : ]" if mode == "rubbish" else call(number, document)
            send("answer", number, answer)


main()
