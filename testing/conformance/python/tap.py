"""A list of tests that prints TAP, for the Python suites."""

import os
import signal
import sys
import time
import traceback
import urllib.request

TEST_BOUND = 40  # seconds
_tests = []


def test(name):
    """Registers a test."""
    def register(body):
        _tests.append((name, body))
        return body
    return register


def _late(_signal, _frame):
    raise TimeoutError("the test: not within %d s" % TEST_BOUND)


def run():
    """Runs all tests and exits."""
    signal.signal(signal.SIGALRM, _late)
    for name, body in _tests:
        signal.alarm(TEST_BOUND)
        try:
            body()
            signal.alarm(0)
            print("ok " + name, flush=True)
        except BaseException:  # whatever a test raises is its failure
            signal.alarm(0)
            print("not ok " + name, flush=True)
            print(traceback.format_exc(), flush=True)
    print("1..%d" % len(_tests), flush=True)
    sys.stdout.flush()
    os._exit(0)


def equal(have, want):
    """Fails unless both are equal."""
    assert have == want, "have %r, want %r" % (have, want)


def eventually(f, what):
    """Waits until f returns something true, and returns that."""
    end = time.monotonic() + 20
    while True:
        value = f()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError("not in time: " + what)
        time.sleep(0.02)


def control(path):
    """Asks for a fault: see World.Command."""
    request = urllib.request.Request(os.environ["CONTROL_URL"] + path, method="GET" if path == "/leader" else "POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode().strip()
