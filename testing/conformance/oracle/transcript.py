"""Cases and their transcript: every operation is one line, `case | operation -> what came back`."""
import contextlib
import re
import sys
import time

from pika import spec
from pika.spec import BasicProperties

from peer import Channel, Closed, Connection, QUIET_SECONDS, REPLY_SECONDS, message, show, words

CASES = []
NEXT_SECONDS = 2  # for what should come unasked


def case(function):
    """Registers a case; it runs with a Script of its own."""
    CASES.append(function)
    return function


class Script:
    """One case's run: opens what is needed, writes the lines, and deletes at the end what the case made."""

    def __init__(self, name, address, http, out):
        self.name, self.address, self.http, self.out = name, address, http, out
        self.connections, self.lines, self.queues, self.exchanges = [], 0, [], []

    def line(self, operation, outcome):
        self.lines += 1
        self.out.append(re.sub(r"\s*\n\s*", " ", f"{self.name} {self.lines:02d} | {operation} -> {outcome}"))

    def connection(self, **options):
        c = Connection(self.address, **options)
        self.connections.append(c)
        return c

    def channel(self, connection=None):
        """A lasting channel: after an error it is opened anew, on a new connection if need be, so that what follows stays comparable."""
        return Lasting(self, connection)

    def login(self, label, **options):
        """Logs in and says what came of it."""
        try:
            self.connection(**options)
            self.line(label, "open")
        except Closed as e:
            self.line(label, e)

    def remember(self, method):
        if isinstance(method, spec.Queue.Declare) and not method.passive:
            self.queues.append(method.queue)
        if isinstance(method, spec.Exchange.Declare) and not method.passive:
            self.exchanges.append(method.exchange)

    def clean(self):
        for c in self.connections:
            c.close()
        c = Connection(self.address)
        for make, names in ((spec.Queue.Delete, self.queues), (spec.Exchange.Delete, self.exchanges)):
            for name in dict.fromkeys(n for n in names if n and not n.startswith("amq.")):
                with contextlib.suppress(Closed):
                    ch = c.channel()
                    ch.send(make(0, name))
                    ch.method()
        c.close()


class Lasting:
    """A channel that is opened again when it has ended."""

    def __init__(self, script, connection=None):
        self.script, self.conn, self.ch = script, connection, None

    def open(self):
        if self.conn is None or self.conn.ended:
            self.conn, self.ch = self.script.connection(), None
        if self.ch is None or self.ch.ended:
            self.ch = self.conn.channel()
        return self.ch

    def send(self, method, properties=None, body=None):
        self.script.remember(method)
        self.open().send(method, properties, body)

    def do(self, method, properties=None, body=None, quiet=False):
        """Sends a method and writes what came back: its reply, or for one that has none whatever came before the reply to a passive declare sent after it.
        Quiet writes nothing, and does not wait for what has no reply."""
        asynchronous = body is not None or not method.synchronous or getattr(method, "nowait", False)
        operation = words(method) + (f" {describe(properties, body)}" if body is not None else "")
        try:
            self.send(method, properties, body)
            if quiet and asynchronous:
                return None
            got = self.settled() if asynchronous else self.reply()
        except Closed as e:
            got = str(e)
        if not quiet:
            self.script.line(operation, got)
        return got

    def reply(self):
        """What came up to the reply, one after the other."""
        seen = []
        while True:
            got = self.ch.method()
            seen.append(text(got))
            if not isinstance(got, (spec.Basic.Deliver, spec.Basic.Ack, spec.Basic.Nack, spec.Basic.Return, spec.Basic.Cancel)):
                return "; ".join(seen)

    def settled(self):
        """What came before the answer to a passive declare."""
        seen = []
        self.ch.send(spec.Exchange.Declare(exchange="amq.direct", type="direct", passive=True))
        while True:
            got = self.ch.method()
            if got is None or isinstance(got, spec.Exchange.DeclareOk):
                return "; ".join(seen) or "nothing"
            seen.append(text(got))

    def publish(self, exchange, key, body=b"m", mandatory=False, immediate=False, quiet=False, **properties):
        return self.do(spec.Basic.Publish(0, exchange, key, mandatory, immediate), BasicProperties(**properties), body, quiet)

    def declare(self, queue="", quiet=False, arguments=None, **flags):
        return self.do(spec.Queue.Declare(queue=queue, arguments=arguments, **flags), quiet=quiet)

    def exchange(self, name, kind="direct", quiet=False, arguments=None, **flags):
        return self.do(spec.Exchange.Declare(exchange=name, type=kind, arguments=arguments, **flags), quiet=quiet)

    def bind(self, queue, exchange, key="", arguments=None, quiet=False):
        return self.do(spec.Queue.Bind(queue=queue, exchange=exchange, routing_key=key, arguments=arguments), quiet=quiet)

    def get(self, queue, no_ack=True):
        return self.do(spec.Basic.Get(queue=queue, no_ack=no_ack))

    def take(self, queue, no_ack=True, seconds=REPLY_SECONDS, quiet=False):
        """Gets a message that is on its way, asking until it is there; its message count is not written, for it depends on the moment."""
        deadline = time.monotonic() + seconds
        while True:
            self.send(spec.Basic.Get(queue=queue, no_ack=no_ack))
            try:
                got = self.ch.method()
            except Closed as e:
                self.script.line(f"take {queue}", e)
                return None
            if isinstance(got, spec.Basic.GetOk):
                if not quiet:
                    self.script.line(f"take {queue}", re.sub(r" message_count=\d+", "", text(got)))
                return got
            if time.monotonic() > deadline:
                self.script.line(f"take {queue}", "stays empty")
                return None
            time.sleep(0.02)

    def await_count(self, queue, count):
        """Waits until a queue has that many ready messages."""
        deadline = time.monotonic() + REPLY_SECONDS
        while time.monotonic() < deadline:
            self.send(spec.Queue.Declare(queue=queue, passive=True))
            got = self.ch.method()
            if got.message_count == count:
                return
            time.sleep(0.02)
        self.script.line(f"{count} messages in {queue}", f"there are {got.message_count}")

    def await_gone(self, queue):
        """Waits until a queue is no more. Asking with a publish is no use of the queue; a declare would be one."""
        deadline = time.monotonic() + REPLY_SECONDS
        while time.monotonic() < deadline:
            self.publish("", queue, mandatory=True, quiet=True)
            if "NO_ROUTE" in self.settled():
                self.script.line(f"wait for the end of {queue}", "gone")
                return
            time.sleep(0.02)
        self.script.line(f"wait for the end of {queue}", "it stays")

    def hold(self, queue):
        """Gets a message that is on its way, does not settle it, and returns its delivery tag."""
        got = self.take(queue, no_ack=False)
        return got.delivery_tag if got is not None else 0

    def next(self, seconds=NEXT_SECONDS, label="next"):
        """Writes the next thing that comes unasked."""
        try:
            got = self.ch.method(seconds)
            self.script.line(label, text(got) if got is not None else "nothing")
            return got
        except Closed as e:
            self.script.line(label, e)

    def quiet(self, label="and then"):
        return self.next(QUIET_SECONDS, label)


def text(method):
    if method is None:
        return "no answer"
    return message(method) if hasattr(method, "body") else words(method)


def describe(properties, body):
    shown = [f"{k}={show(v)}" for k, v in sorted(vars(properties or BasicProperties()).items()) if v is not None]
    return " ".join(["with"] + shown + [repr(body) if len(body) < 100 else f"{len(body)} octets"])


def run(pattern, address, http):
    """Runs the cases whose name matches and returns the transcript's lines."""
    out = []
    for function in CASES:
        name = function.__name__
        if not re.search(pattern, name):
            continue
        script, began = Script(name, address, http, out), time.monotonic()
        try:
            function(script)
        except Exception as e:  # a case that cannot go on is a line of the transcript, not the end of the run
            script.line("the case ended", f"{type(e).__name__}: {e}")
        try:
            script.clean()
        except Exception as e:
            script.line("cleaning", f"{type(e).__name__}: {e}")
        if time.monotonic() - began > 3:
            print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    return out
