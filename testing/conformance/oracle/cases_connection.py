"""Logging in, and what the wire forbids."""
import struct

from pika import frame, spec

from peer import Closed, Connection, QUIET_SECONDS
from transcript import case, text


@case
def login(t):
    t.login("guest", user="guest")
    t.login("wrong password", password="nope")
    t.login("unknown user", user="nobody")
    t.login("unknown vhost", vhost="none")
    t.login("empty vhost", vhost="")
    t.login("no authentication_failure_close", password="nope", properties={"capabilities": {}})


def handshake(t, label, *steps):
    """Plays a handshake with a step replaced; what comes back at the end is the outcome."""
    c = Connection(t.address, handshake=False)
    t.connections.append(c)
    try:
        c.send_bytes(frame.ProtocolHeader().marshal())
        c.method(0)
        outcome = "nothing"
        for step in steps:
            c.send(0, step) if not isinstance(step, bytes) else c.send_bytes(step)
            got = c.method(0)
            outcome = got.NAME.lower() if got is not None else "nothing"
    except Closed as e:
        outcome = str(e)
    t.line(label, outcome)


START_OK = spec.Connection.StartOk({"capabilities": {"authentication_failure_close": True}}, "PLAIN", "\0guest\0guest", "en_US")


@case
def handshake_errors(t):
    handshake(t, "unknown mechanism", spec.Connection.StartOk({}, "NTLM", "x", "en_US"))
    handshake(t, "PLAIN without zeros", spec.Connection.StartOk({"capabilities": {"authentication_failure_close": True}}, "PLAIN", "guest", "en_US"))
    handshake(t, "another locale", spec.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "de_DE"))
    handshake(t, "AMQPLAIN", spec.Connection.StartOk({}, "AMQPLAIN", b"\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x05guest".decode("latin-1"), "en_US"))
    handshake(t, "open before tune-ok", START_OK, spec.Connection.Open("/"))
    handshake(t, "open before start-ok", spec.Connection.Open("/"))
    for label, ok in (("channel_max 0", (0, 131072, 0)), ("frame_max 0", (2047, 0, 0)), ("channel_max above", (4000, 131072, 0)), ("frame_max above", (2047, 200000, 0)),
                      ("frame_max below 4096", (2047, 4095, 0)), ("frame_max 4096", (2047, 4096, 0)), ("channel_max 1", (1, 131072, 0)), ("heartbeat above", (2047, 131072, 600))):
        handshake_tune(t, label, ok)
    handshake(t, "a method of a channel first", frame.Method(1, spec.Channel.Open()).marshal())


def handshake_tune(t, label, ok):
    c = Connection(t.address, handshake=False)
    t.connections.append(c)
    try:
        c.send_bytes(frame.ProtocolHeader().marshal())
        c.method(0)
        c.send(0, START_OK)
        c.method(0)
        c.send(0, spec.Connection.TuneOk(*ok))
        c.send(0, spec.Connection.Open("/"))
        outcome = c.method(0).NAME.lower()
    except Closed as e:
        outcome = str(e)
    t.line(f"tune-ok with {label}", outcome)


@case
def protocol_header(t):
    for label, octets in (("AMQP 0 0 9 1", b"AMQP\0\0\x09\x01"), ("AMQP 1 1 0 9", b"AMQP\1\1\0\x09"), ("AMQP 1 1 8 0", b"AMQP\1\1\x08\0"), ("AMQP 1 1 9 1", b"AMQP\1\1\x09\1"),
                          ("AMQP 0 1 0 0", b"AMQP\0\1\0\0"), ("AMQP 3 1 0 0", b"AMQP\3\1\0\0"), ("AMQP 0 0 9 2", b"AMQP\0\0\x09\x02"), ("HTTP", b"GET / HTTP/1.1\r\n\r\n")):
        c = Connection(t.address, handshake=False)
        t.connections.append(c)
        c.send_bytes(octets)
        try:
            got = c.method(0).NAME.lower()
        except Closed as e:
            got = str(e)
        t.line(f"header {label}", got)


def wire(t, label, *octets, channel=True):
    """Sends octets on a connection with channel 1 open, and says how it ends."""
    c = t.connection()
    if channel:
        c.channel(1)
    for o in octets:
        c.send_bytes(o)
    c.send(1, spec.Exchange.Declare(exchange="amq.direct", type="direct", passive=True))
    seen = []
    try:
        while (got := c.method(1, QUIET_SECONDS)) is not None:
            seen.append(f"channel {got.reply_code} {got.reply_text}" if isinstance(got, spec.Channel.Close) else text(got))
    except Closed as e:
        seen = [str(e)]  # whether the answer to the passive declare came before is a matter of luck
    t.line(label, "; ".join(seen) or "nothing")


def method(channel, class_id, method_id, payload=b""):
    return raw(1, channel, struct.pack(">HH", class_id, method_id) + payload)


def raw(kind, channel, payload, end=b"\xce"):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


def header(channel, size, class_id=60, flags=0, rest=b"", weight=0):
    return raw(2, channel, struct.pack(">HHQH", class_id, weight, size, flags) + rest)


PUBLISH = frame.Method(1, spec.Basic.Publish(0, "", "o.none")).marshal()


@case
def wire_errors(t):
    wire(t, "unknown class", method(1, 99, 10))
    wire(t, "unknown method", method(1, 50, 99))
    wire(t, "unknown method on channel 0", method(0, 10, 99))
    wire(t, "a server's method", method(1, 50, 11, b"\0\0\0\0\0\0\0\0\0"))
    wire(t, "frame of type 9", raw(9, 1, b""))
    wire(t, "frame of type 4", raw(4, 1, b""))
    wire(t, "wrong end octet", raw(1, 1, struct.pack(">HH", 20, 10) + b"\0", end=b"\0"))
    wire(t, "method frame of no octets", raw(1, 1, b""))
    wire(t, "method frame of two octets", raw(1, 1, b"\0\x32"))
    wire(t, "short arguments", method(1, 50, 10, b"\0\0"))
    wire(t, "octets behind the arguments", method(1, 20, 20, b"\1\0\0\0"))
    wire(t, "table that ends early", method(1, 50, 10, b"\0\0\1q\0" + b"\0\0\0\x20" + b"\1ai\0\0"))
    wire(t, "table with an unknown type", method(1, 50, 10, b"\0\0\6o.wire\0" + b"\0\0\0\3\1a?"))
    wire(t, "name that is not UTF-8", method(1, 50, 10, b"\0\0\2\xff\xfe\0\0\0\0\0"))
    wire(t, "heartbeat on channel 1", raw(8, 1, b""))
    wire(t, "heartbeat with a payload", raw(8, 0, b"x"))
    wire(t, "channel not open", frame.Method(7, spec.Queue.Declare(queue="o.wire")).marshal())
    wire(t, "channel 0 for a channel's method", frame.Method(0, spec.Queue.Declare(queue="o.wire")).marshal())
    wire(t, "connection method on channel 1", frame.Method(1, spec.Connection.Open("/")).marshal())
    wire(t, "open on channel 0 again", frame.Method(0, spec.Connection.Open("/")).marshal())
    wire(t, "start-ok again", frame.Method(0, START_OK).marshal())
    wire(t, "channel opened twice", frame.Method(1, spec.Channel.Open()).marshal())
    wire(t, "channel number above channel_max", frame.Method(2048, spec.Channel.Open()).marshal())
    wire(t, "close of a channel that is not open", frame.Method(9, spec.Channel.Close(200, "", 0, 0)).marshal())
    wire(t, "channel.close-ok unasked", frame.Method(1, spec.Channel.CloseOk()).marshal())
    wire(t, "content header unasked", header(1, 0))
    wire(t, "body unasked", raw(3, 1, b"x"))
    wire(t, "method in place of the header", PUBLISH, frame.Method(1, spec.Channel.Flow(True)).marshal())
    wire(t, "body in place of the header", PUBLISH, raw(3, 1, b"x"))
    wire(t, "method in place of the body", PUBLISH, header(1, 5), frame.Method(1, spec.Channel.Flow(True)).marshal())
    wire(t, "header in place of the body", PUBLISH, header(1, 5), header(1, 5))
    wire(t, "header of another class", PUBLISH, header(1, 0, class_id=50))
    wire(t, "header with a weight", PUBLISH, header(1, 0, weight=1))
    wire(t, "body longer than its header says", PUBLISH, header(1, 2), raw(3, 1, b"four"))
    wire(t, "properties that end early", PUBLISH, header(1, 0, flags=0x8000, rest=b"\x20ab"))
    wire(t, "frame above frame_max", raw(3, 1, b"x" * 140000))
    wire(t, "message above the limit", PUBLISH, header(1, 1 << 40))
    wire(t, "publish to a channel that is not open", frame.Method(5, spec.Basic.Publish(0, "", "o.none")).marshal(), header(5, 0))
    wire(t, "header of a channel that is not open", header(5, 0))
    t.queues.append("o.wire")


@case
def after_channel_error(t):
    """What a client sends before it has seen the close is dropped."""
    c = t.connection()
    ch = c.channel(1)
    ch.send(spec.Queue.Declare(queue="o.none", passive=True))
    ch.send(spec.Queue.Declare(queue="o.after"))
    ch.send(spec.Basic.Publish(0, "o.none", ""), None, b"x")
    try:
        ch.method()
    except Closed as e:
        t.line("the error", e)
    d = t.channel()
    d.declare("o.after", passive=True)
    c2 = c.channel(1)
    c2.send(spec.Queue.Declare(queue="o.after"))
    t.line("declare on the channel opened again", c2.method().NAME.lower())
    t.queues.append("o.after")


@case
def server_properties(t):
    c = t.connection()
    p = c.start.server_properties
    t.line("capabilities", ", ".join(f"{k}={v}" for k, v in sorted(p["capabilities"].items())))
    t.line("keys", ", ".join(sorted(p)))
    t.line("mechanisms", " ".join(sorted(c.start.mechanisms.decode().split())))
    t.line("version, locales", f"{c.start.version_major}.{c.start.version_minor} {c.start.locales.decode()}")
    t.line("tune", f"{c.tune.channel_max} {c.tune.frame_max} {c.tune.heartbeat}")


@case
def connection_close(t):
    c = t.connection()
    c.send(0, spec.Connection.Close(200, "bye", 0, 0))
    t.line("connection.close", c.method(0).NAME.lower())


@case
def update_secret(t):
    secret = struct.pack(">I", 3) + b"new" + b"\3why"
    c = t.connection()
    c.send_bytes(method(0, 10, 70, secret))
    try:
        reply, _ = c.sock.recv(4096), None
        t.line("update-secret", f"method {struct.unpack('>HH', reply[7:11])}" if reply else "closed")
    except OSError as e:
        t.line("update-secret", type(e).__name__)
