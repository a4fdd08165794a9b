"""A Celery application on a cluster: workers on several nodes, some of which are killed. Prints TAP."""
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

NODES = os.environ["AMQP_NODES"].split(",")
SECONDS = 30  # for what must come
CHAOS = os.environ.get("CHAOS")
os.environ["DIR"] = DIR = tempfile.mkdtemp(dir=os.getcwd())


def brokers(first):
    """Broker addresses, the first node's first; the client goes to the next one when it loses its own. While others take leaders away, the balancer's, so
    that they see which nodes have clients."""
    if CHAOS:
        return os.environ["AMQP_URL"]
    return ";".join(f"amqp://guest:guest@{NODES[(first + k) % len(NODES)]}//" for k in range(len(NODES)))


os.environ["BROKER"] = brokers(0)
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
os.environ["PYTHONPATH"] = sys.path[0]

from celery import chain, group  # noqa: E402
from kombu import Connection  # noqa: E402

import tasks  # noqa: E402
from tasks import app  # noqa: E402

TESTS = []


def test(name):
    def register(function):
        TESTS.append((name, function))
        return function
    return register


def control(path, method="POST"):
    with urllib.request.urlopen(urllib.request.Request(os.environ["CONTROL_URL"] + path, method=method), timeout=60) as r:
        return r.read().decode().strip()


def leader():
    return int(control("/leader", "GET")[1:]) - 1


@contextlib.contextmanager
def started_after(node):
    """Starts a node again that was killed meanwhile, whatever came of it."""
    try:
        yield
    finally:
        control(f"/start?node=n{node + 1}")


def lines(name):
    with contextlib.suppress(FileNotFoundError), open(os.path.join(DIR, name), encoding="utf-8") as f:
        return f.read().split("\n")[:-1]
    return []


def touch(name):
    open(os.path.join(DIR, name), "w").close()


def until(what, condition, seconds=SECONDS):
    """Waits for a condition and returns its value. A pooled connection to a node that was killed fails once: that is one more no."""
    deadline = time.monotonic() + seconds
    while True:
        value = None
        with contextlib.suppress(OSError):
            value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"in vain waited for: {what}")
        time.sleep(0.05)


def equal(want, have):
    assert want == have, f"want {want!r}, have {have!r}"


class Worker:
    """A worker process, connected to one node first."""

    def __init__(self, name, queues, *options, node=0, concurrency=2):
        self.name, self.log = f"{name}@test", os.path.join(DIR, f"{name}.log")
        command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-n", self.name, "-Q", queues, "-c", str(concurrency), "-l", "INFO", "-E", *options]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, env={**os.environ, "BROKER": brokers(node)}, stdout=log, stderr=log, start_new_session=True)

    def __enter__(self):
        until(f"{self.name} to answer a ping", lambda: self.ask().ping())
        return self

    def __exit__(self, kind, *_):
        self.kill(signal.SIGKILL)
        if kind:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                print(f"the end of {self.name}'s log:\n" + "".join(f.readlines()[-25:]), flush=True)

    def ask(self, timeout=2):
        return app.control.inspect(destination=[self.name], timeout=timeout)

    def answer(self, question):
        """What an inspection of this worker says."""
        return until(f"{self.name} to answer", lambda: (question(self.ask()) or {}).get(self.name))

    def kill(self, number):
        """Ends the worker and its pool."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait(SECONDS)


def tell(worker, method, *args, **options):
    """A remote control command; its answer."""
    replies = until(f"{worker.name} to obey", lambda: getattr(app.control, method)(*args, destination=[worker.name], reply=True, timeout=2, **options))
    return replies[0][worker.name]


def count(queue):
    with app.connection_for_read() as c, c.channel() as ch:
        return ch.queue_declare(queue, passive=True).message_count


@test("results over rpc")
def results():
    with Worker("w", "work"):
        equal(5, tasks.add.delay(2, 3).get(timeout=SECONDS))
        equal([n + n for n in range(20)], [r.get(timeout=SECONDS) for r in [tasks.add.delay(n, n) for n in range(20)]])
        try:
            tasks.fail.delay().get(timeout=SECONDS)
            raise AssertionError("no exception")
        except ValueError as e:
            equal("as asked", str(e))


@test("routing to several queues by topic")
def routing():
    with Worker("images", "images", node=1), Worker("mails", "mails", node=2):
        equal(["image.resize.png", "images@test"], list(tasks.picture.delay().get(timeout=SECONDS)))
        equal(["mail.welcome", "mails@test"], list(tasks.mail.delay().get(timeout=SECONDS)))
        equal(["image.anything", "images@test"], list(tasks.mail.apply_async(exchange="jobs", routing_key="image.anything").get(timeout=SECONDS)))


@test("priorities")
def priorities():
    with Worker("w", "urgent", "--prefetch-multiplier", "1", concurrency=1):
        tasks.wait_for.apply_async(["priorities"], queue="urgent", priority=9)
        until("the worker to be busy", lambda: lines("waiting-priorities"))
        order = [3, 0, 9, 5, 1, 7]
        # The worker holds one message beside the task that runs: give it one that does not matter.
        tasks.note.apply_async(["order", "held"], queue="urgent", priority=9)
        until("the worker to hold the next", lambda: count("urgent") == 0)
        for p in order:
            tasks.note.apply_async(["order", str(p)], queue="urgent", priority=p)
        until("all to be there", lambda: count("urgent") == len(order))
        touch("priorities")
        until("all to have run", lambda: len(lines("order")) == len(order) + 1)
        equal(["held"] + [str(p) for p in sorted(order, reverse=True)], lines("order"))


@test("a broadcast queue reaches every worker")
def broadcast():
    with Worker("one", "news"), Worker("two", "news", node=1):
        tasks.who.apply_async(["news"], queue="news")
        until("both to run it", lambda: len(lines("news")) == 2)
        equal(["one@test", "two@test"], sorted(lines("news")))


@test("acks_late: a task whose worker is killed runs again")
def acks_late():
    with Worker("first", "work", "--prefetch-multiplier", "1", concurrency=1) as first:
        result = tasks.late.delay("killed", 7)
        until("the task to run", lambda: lines("started-killed"))
        with Worker("second", "work", node=1):
            first.kill(signal.SIGKILL)
            until("the task to run again", lambda: len(lines("started-killed")) == 2)
            touch("open-killed")
            equal(7, result.get(timeout=SECONDS))
    equal(["7 first@test False", "7 second@test True"], lines("started-killed"))
    equal(["7"], lines("finished-killed"))


@test("a queue of type quorum")
def quorum():
    with Worker("w", "safe"):
        equal([2, 4, 6], [r.get(timeout=SECONDS) for r in [tasks.add.apply_async([n, n], queue="safe") for n in (1, 2, 3)]])


@test("retries with a countdown")
def retries():
    with Worker("w", "work"):
        equal(2, tasks.flaky.delay("flaky", 2).get(timeout=SECONDS))
    at = [float(x) for x in lines("flaky")]
    equal(3, len(at))
    assert all(b - a >= 0.3 for a, b in zip(at, at[1:])), at


@test("eta and countdown")
def eta():
    with Worker("w", "work"):
        began = time.time()
        late = [tasks.now.apply_async(countdown=c) for c in (1.0, 0.5)]
        waited = [r.get(timeout=SECONDS) - began for r in late]
        assert waited[0] >= 1.0 and waited[1] >= 0.5, waited
        tasks.note.apply_async(["expired", "x"], expires=0.1, countdown=0.5)
        equal(2, tasks.add.apply_async([1, 1], countdown=1).get(timeout=SECONDS))
        equal([], lines("expired"))


@test("groups and chains over rpc")
def groups():
    with Worker("w", "work"), Worker("v", "work", node=1):
        equal([n * 2 for n in range(50)], group(tasks.add.s(n, n) for n in range(50)).apply_async().get(timeout=SECONDS))
        equal(10, chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4)).apply_async().get(timeout=SECONDS))
        equal([3, 6], group(chain(tasks.add.s(n, n), tasks.add.s(n)) for n in (1, 2)).apply_async().get(timeout=SECONDS))


@test("a rejected task is dead-lettered")
def rejected():
    with Worker("w", "refused"):
        with Connection(brokers(1)) as c, c.SimpleQueue("graveyard") as dead:  # it must be there before the task is refused
            tasks.refuse.apply_async(queue="refused")
            m = dead.get(timeout=SECONDS)
            m.ack()
            equal(["rejected", "refused", 1], [m.headers["x-death"][0][k] for k in ("reason", "queue", "count")])
            equal("tasks.refuse", m.headers["task"])


@test("remote control: ping, queues, statistics")
def inspection():
    with Worker("w", "work,mails", node=2) as w:
        equal({"ok": "pong"}, w.answer(lambda i: i.ping()))
        equal(["mails", "work"], sorted(q["name"] for q in w.answer(lambda i: i.active_queues())))
        stats = w.answer(lambda i: i.stats())
        equal(8, stats["prefetch_count"])
        equal("127.0.0.1", stats["broker"]["hostname"])
        assert "tasks.add" in w.answer(lambda i: i.registered())


@test("remote control: rate limit, cancel and add consumers")
def remote_control():
    with Worker("w", "work") as w:
        assert "new rate limit set successfully" in tell(w, "rate_limit", "tasks.note", "2/s")["ok"]
        began = time.monotonic()
        for n in range(5):
            tasks.note.delay("limited", str(n))
        until("all to have run", lambda: len(lines("limited")) == 5)
        assert time.monotonic() - began > 1.2, "the rate limit had no effect"
        assert "no longer consuming" in tell(w, "cancel_consumer", "work")["ok"]
        tasks.note.delay("cancelled", "x")
        until("the message to wait", lambda: count("work") == 1)
        equal({"ok": "add consumer work"}, tell(w, "add_consumer", "work"))
        until("the message to be taken", lambda: lines("cancelled"))
        tell(w, "add_consumer", "later", exchange="later", exchange_type="direct", routing_key="later")
        tasks.note.apply_async(["new queue", "x"], exchange="later", routing_key="later")
        until("a new queue to be consumed", lambda: lines("new queue"))


@test("live prefetch: the pool grows, shrinks and scales")
def prefetch():
    with Worker("w", "work", "--prefetch-multiplier", "1", "--autoscale", "6,1", concurrency=1) as w:
        runs = [tasks.late.delay("prefetch", n) for n in range(8)]
        until("the pool to scale", lambda: len(lines("started-prefetch")) == 6)
        touch("open-prefetch")
        equal(list(range(8)), [r.get(timeout=SECONDS) for r in runs])
        assert w.process.poll() is None
    with Worker("v", "work", "--prefetch-multiplier", "1", concurrency=1) as v:
        equal(1, v.answer(lambda i: i.stats())["prefetch_count"])
        tell(v, "pool_grow", 2)
        until("the prefetch to follow", lambda: v.answer(lambda i: i.stats())["prefetch_count"] == 3)
        runs = [tasks.late.delay("grown", n) for n in range(5)]
        until("three to run at a time", lambda: len(lines("started-grown")) == 3)
        until("two to wait in the queue", lambda: count("work") == 2)
        touch("open-grown")
        equal(list(range(5)), [r.get(timeout=SECONDS) for r in runs])
        tell(v, "pool_shrink", 2)
        until("the prefetch to shrink", lambda: v.answer(lambda i: i.stats())["prefetch_count"] == 1)


@test("revoke and terminate a task")
def revoke():
    with Worker("w", "work") as w:
        running = tasks.late.delay("revoked")
        until("it to run", lambda: lines("started-revoked"))
        running.revoke(terminate=True, signal="SIGKILL")
        until("it to be gone", lambda: w.ask().active() == {w.name: []})
        equal(3, tasks.add.delay(1, 2).get(timeout=SECONDS))


@test("events")
def events():
    seen, stop = [], threading.Event()

    def capture():
        with Connection(brokers(2)) as c:
            receiver = app.events.Receiver(c, handlers={"*": seen.append})
            with contextlib.suppress(Exception):
                for _ in receiver.itercapture(limit=None, timeout=None, wakeup=True):
                    if stop.is_set():
                        return

    thread = threading.Thread(target=capture, daemon=True)
    thread.start()
    dump = subprocess.Popen([sys.executable, "-m", "celery", "-A", "tasks", "events", "--dump"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed = []
    threading.Thread(target=lambda: printed.extend(iter(dump.stdout.readline, "")), daemon=True).start()
    with Worker("w", "work") as w:
        until("a heartbeat", lambda: any(e["type"] == "worker-heartbeat" for e in seen))
        until("celery events to print", lambda: any("worker heartbeat" in p or "w@test" in p for p in printed))
        result = tasks.add.delay(1, 1)
        result.get(timeout=SECONDS)
        mine = lambda: [e["type"] for e in seen if e.get("uuid") == result.id]  # noqa: E731
        until("the task's events", lambda: {"task-sent", "task-received", "task-started", "task-succeeded"} <= set(mine()))
        until("celery events to print the task", lambda: any(result.id in p for p in printed))
        w.kill(signal.SIGTERM)
        until("the worker's farewell", lambda: any(e["type"] == "worker-offline" for e in seen))
    stop.set()
    dump.kill()
    dump.wait()


@test("the command line: status, inspect, purge")
def command_line():
    def celery(*args):
        return subprocess.run([sys.executable, "-m", "celery", "-A", "tasks", *args], capture_output=True, text=True, timeout=SECONDS).stdout

    with Worker("w", "work"):
        assert "1 node online" in until("status", lambda: (s := celery("status")) and "online" in s and s)
        assert "pong" in celery("inspect", "ping")
    tasks.add.apply_async([1, 2], queue="mails")
    tasks.add.apply_async([1, 2], queue="mails")
    assert "Purged 2 messages" in celery("purge", "-f", "-Q", "mails")


@test("the leader is killed under a worker on another node: no task is lost")
def leader_killed():
    first = leader()
    other = (first + 1) % len(NODES)
    sent, wanted = [], 300
    with started_after(first), Worker("w", "work", "--prefetch-multiplier", "4", node=other, concurrency=4), app.connection_for_write(url=brokers(other)) as connection:
        touch("open-leader")
        for n in range(wanted):
            if n == wanted // 3:
                killer = threading.Thread(target=control, args=(f"/kill?node=n{first + 1}",))
                killer.start()
            tasks.late.apply_async(["leader", n], connection=connection, ignore_result=True)
            sent.append(n)
        killer.join()
        until("all tasks to have run", lambda: len(set(lines("finished-leader"))) == wanted)
        equal("", "".join(x for x in open(os.path.join(DIR, "w.log"), encoding="utf-8") if "Connection to broker lost" in x))
        twice = len(lines("finished-leader")) - wanted
        equal(0, twice)


@test("a worker's own node is killed: it goes to another and loses nothing")
def node_killed():
    node = (leader() + 1) % len(NODES)
    wanted = 100
    with started_after(node), Worker("w", "work", "--prefetch-multiplier", "2", node=node, concurrency=2):
        safe = (node + 1) % len(NODES)
        with app.connection_for_write(url=brokers(safe)) as connection:
            tasks.late.apply_async(["own", 0], connection=connection, ignore_result=True)
            until("the first to run", lambda: lines("started-own"))
            for n in range(1, wanted):
                tasks.late.apply_async(["own", n], connection=connection, ignore_result=True)
            control(f"/kill?node=n{node + 1}")
            touch("open-own")
            until("all tasks to have run", lambda: len(set(lines("finished-own"))) == wanted)


def main():
    only = os.environ.get("ONLY", "")
    chosen = [(name, function) for name, function in TESTS if only in name and not (CHAOS and "is killed" in name and "node" in name)]
    bad = 0
    for name, function in chosen:
        try:
            function()
            print(f"ok {name}", flush=True)
        except BaseException:  # also a SystemExit of the library's fails just the test
            bad += 1
            print(f"not ok {name}\n{traceback.format_exc()}", flush=True)
    print(f"1..{len(chosen)}", flush=True)
    sys.exit(1 if bad else 0)


main()
