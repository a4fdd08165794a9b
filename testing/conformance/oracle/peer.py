"""A bare AMQP peer: it sends what it is told, right or wrong, and says in words what came back.

Client libraries hide what the oracle is about: they refuse to send what is wrong, and fold errors. pika's codec (Debian: python3-pika) reads and writes the
frames; connection states, replies and errors are this file's.
"""
import datetime
import re
import socket
import struct
import time

from pika import data, frame, spec

REPLY_SECONDS = 5  # for what must come
QUIET_SECONDS = 0.3  # for what must not come


class Typed:
    """A field value with its wire type, for what Python has no type of: Typed('b', 'b', 5) is a signed octet."""

    def __init__(self, kind, fmt, value):
        self.kind, self.fmt, self.value = kind, fmt, value

    def __repr__(self):
        return f"{self.value}:{self.kind}"


_encode_value = data.encode_value


def _encode_typed(pieces, value):
    if isinstance(value, float):
        value = Typed("d", "d", value)
    if not isinstance(value, Typed):
        return _encode_value(pieces, value)
    body = struct.pack(">" + value.fmt, value.value)
    pieces.append(value.kind.encode() + body)
    return 1 + len(body)


data.encode_value = _encode_typed


class Closed(Exception):
    """The peer ended the channel or the connection; the text says how."""


def words(method):
    """A method with what differs from its defaults."""
    plain = type(method)()
    fields = [f"{k}={show(v)}" for k, v in vars(method).items() if v != getattr(plain, k, None)]
    return " ".join([method.NAME.lower()] + fields)


def show(value):
    """A value as text that is the same on every run: tables sorted, generated names, tags and times masked."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {quoted(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(quoted, value)) + "]"
    if isinstance(value, datetime.datetime):
        return "TIME"
    if isinstance(value, str):
        value = re.sub(r"amq\.gen-[\w-]+", "amq.gen-X", value)
        value = re.sub(r"amq\.ctag-[\w-]+", "amq.ctag-X", value)
        value = re.sub(r"amq\.rabbitmq\.reply-to\.[^' ]+", "amq.rabbitmq.reply-to.X", value)
        return value if len(value) < 300 else f"{value[:60]}... ({len(value)} characters)"
    return repr(value)


def quoted(value):
    return f"'{show(value)}'" if isinstance(value, str) else show(value)


class Connection:
    """One socket. Channels are opened on it with channel()."""

    def __init__(self, address, user="guest", password="guest", vhost="/", properties=None, handshake=True):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=REPLY_SECONDS)
        self.buffer, self.ended, self.channels, self.frame_max = b"", None, {}, 131072
        self.properties = {"capabilities": {"authentication_failure_close": True, "consumer_cancel_notify": True, "basic.nack": True, "publisher_confirms": True}}
        self.properties.update(properties or {})
        if handshake:
            self.handshake(user, password, vhost)

    def handshake(self, user, password, vhost):
        self.send_bytes(frame.ProtocolHeader().marshal())
        self.start = self.method(0)
        self.send(0, spec.Connection.StartOk(self.properties, "PLAIN", f"\0{user}\0{password}", "en_US"))
        self.tune = self.method(0)
        self.send(0, spec.Connection.TuneOk(self.tune.channel_max, self.tune.frame_max, 0))
        self.frame_max = self.tune.frame_max
        self.send(0, spec.Connection.Open(vhost))
        return self.method(0)

    def send_bytes(self, octets):
        try:
            self.sock.sendall(octets)
        except OSError as e:
            self.ended = self.ended or f"the socket broke: {type(e).__name__}"

    def send(self, channel, method):
        self.send_bytes(frame.Method(channel, method).marshal())

    def content(self, channel, properties, body):
        self.send_bytes(frame.Header(channel, len(body), properties).marshal())
        step = self.frame_max - 8
        for at in range(0, len(body), step):
            self.send_bytes(frame.Body(channel, body[at:at + step]).marshal())

    def frame(self, seconds=REPLY_SECONDS):
        """The next frame that is no heartbeat; None when none comes in time; Closed at the end of the stream."""
        deadline = time.monotonic() + seconds
        while True:
            used, got = frame.decode_frame(self.buffer)
            if got is not None:
                self.buffer = self.buffer[used:]
                if isinstance(got, frame.Heartbeat):
                    continue
                return got
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                octets = self.sock.recv(1 << 16)
            except socket.timeout:
                return None
            except OSError:
                octets = b""
            if not octets:
                self.ended = self.ended or "closed without a word"
                raise Closed(self.ended)
            self.buffer += octets

    def method(self, channel, seconds=REPLY_SECONDS):
        """The next method on a channel; others' frames go to their inboxes. Closes are answered and raised as Closed."""
        while True:
            box = self.channels.get(channel)
            if box is not None and box.inbox:
                return box.inbox.pop(0)
            got = self.frame(seconds)
            if got is None:
                return None
            if isinstance(got, frame.ProtocolHeader):
                self.ended = f"header AMQP 0 {got.major} {got.minor} {got.revision}"
                raise Closed(self.ended)
            if isinstance(got, frame.Method) and got.channel_number == 0:
                if isinstance(got.method, spec.Connection.Close):
                    self.ended = closing("connection", got.method)
                    self.send(0, spec.Connection.CloseOk())
                    raise Closed(self.ended)
                if channel == 0:
                    return got.method
                continue
            self.deliver(got)

    def deliver(self, got):
        """Puts a frame of a channel into its inbox; a content's three parts become one."""
        box = self.channels.setdefault(got.channel_number, Channel(self, got.channel_number, opened=False))
        if isinstance(got, frame.Header):
            box.partial.properties, box.partial.size, box.partial.body = got.properties, got.body_size, b""
        elif isinstance(got, frame.Body):
            box.partial.body += got.fragment
        elif isinstance(got.method, (spec.Basic.Deliver, spec.Basic.GetOk, spec.Basic.Return)):
            box.partial = got.method
            box.partial.size = -1
            return
        else:
            box.inbox.append(got.method)
            return
        if box.partial.size == len(box.partial.body):
            box.inbox.append(box.partial)

    def channel(self, number=None):
        number = number or next(n for n in range(1, 2048) if n not in self.channels)
        self.channels[number] = Channel(self, number)
        return self.channels[number]

    def close(self):
        if self.ended is None:
            try:
                self.send(0, spec.Connection.Close(200, "bye", 0, 0))
                while not isinstance(self.method(0, 2), (spec.Connection.CloseOk, type(None))):
                    pass
            except Closed:
                pass
        self.ended = self.ended or "closed"
        self.sock.close()


class Channel:
    """One channel; ended says how it was closed, None while it is open."""

    def __init__(self, connection, number, opened=True):
        self.connection, self.number, self.inbox, self.ended, self.partial = connection, number, [], None, None
        if opened:
            connection.send(number, spec.Channel.Open())
            self.method()

    def send(self, method, properties=None, body=None):
        self.connection.send(self.number, method)
        if body is not None:
            self.connection.content(self.number, properties or spec.BasicProperties(), body)

    def method(self, seconds=REPLY_SECONDS):
        got = self.connection.method(self.number, seconds)
        if isinstance(got, spec.Channel.Close):
            self.ended = closing("channel", got)
            self.send(spec.Channel.CloseOk())
            raise Closed(self.ended)
        return got


def closing(level, method):
    return f"{level} {method.reply_code} ({method.class_id},{method.method_id}) {show(method.reply_text)}"


def message(m):
    """A delivery, get or return in one line."""
    head = words_of_content(m)
    properties = [f"{k}={show(v)}" for k, v in sorted(vars(m.properties).items()) if v is not None]
    body = m.body.decode("latin-1")
    return " ".join([head] + properties + [repr(body) if len(body) < 100 else f"({len(body)} octets)"])


def words_of_content(m):
    names = {"Basic.Deliver": ["consumer_tag", "delivery_tag", "redelivered", "exchange", "routing_key"],
             "Basic.GetOk": ["delivery_tag", "redelivered", "exchange", "routing_key", "message_count"],
             "Basic.Return": ["reply_code", "reply_text", "exchange", "routing_key"]}[m.NAME]
    return " ".join([m.NAME.lower()] + [f"{n}={show(getattr(m, n))}" for n in names])
