"""pika, its blocking and its asynchronous connection."""

import functools
import os
import threading
import uuid

import pika
import pika.exceptions

from tap import control, equal, eventually, run, test

NODES = [n.rsplit(":", 1) for n in os.environ["AMQP_NODES"].split(",")]


def parameters(node=None, **options):
    if node is None:
        p = pika.URLParameters(os.environ["AMQP_URL"])
        for name, value in options.items():
            setattr(p, name, value)
        return p
    host, port = NODES[node]
    return pika.ConnectionParameters(host, int(port), **options)


def name():
    return "pika." + uuid.uuid4().hex


def blocking(title, node=None, **options):
    """A test that gets a blocking connection and a channel."""
    def register(body):
        @test("blocking: " + title)
        @functools.wraps(body)
        def with_connection():
            connection = pika.BlockingConnection(parameters(node, **options))
            try:
                body(connection, connection.channel())
            finally:
                if connection.is_open:
                    connection.close()
        return body
    return register


def taken(ch, q, count):
    got = []
    for method, properties, body in ch.consume(q, inactivity_timeout=20):
        if method is None:
            raise TimeoutError("%d of %d messages" % (len(got), count))
        got.append((method, properties, body))
        if len(got) == count:
            return got


def fails(code, operation):
    """Fails unless the operation closes the channel with this code."""
    try:
        operation()
    except pika.exceptions.ChannelClosedByBroker as e:
        equal(e.reply_code, code)
        return e.reply_text
    raise AssertionError("no error %d" % code)


@blocking("publish and get, properties and headers")
def _(_c, ch):
    q = name()
    ch.queue_declare(q, durable=True)
    properties = pika.BasicProperties(
        content_type="text/plain", content_encoding="utf-8", delivery_mode=2, priority=3, correlation_id="c", reply_to="r", message_id="m", timestamp=1700000000,
        type="kind", user_id="guest", app_id="app",
        headers={"text": "ünï", "int": 5, "large": 1 << 40, "yes": True, "none": None, "list": [1, "b", {"c": 2}], "table": {"x": {"y": "z"}}, "bytes": b"\xff".decode("latin1")})
    ch.basic_publish("", q, "body", properties)
    method, got, body = eventually(lambda: [m for m in [ch.basic_get(q)] if m[0]], "the message")[0]
    equal(body, b"body")
    for k in ("content_type", "content_encoding", "delivery_mode", "priority", "correlation_id", "reply_to", "message_id", "timestamp", "type", "user_id", "app_id", "headers"):
        equal(getattr(got, k), getattr(properties, k))
    ch.basic_ack(method.delivery_tag)


@blocking("confirms: publish returns when the message is safe")
def _(_c, ch):
    q = name()
    ch.queue_declare(q)
    ch.confirm_delivery()
    for k in range(50):
        ch.basic_publish("", q, str(k))
    equal(ch.queue_declare(q, passive=True).method.message_count, 50)


@blocking("confirms: an unroutable mandatory message raises")
def _(_c, ch):
    ch.confirm_delivery()
    try:
        ch.basic_publish("", name(), b"x", mandatory=True)
    except pika.exceptions.UnroutableError as e:
        equal(e.messages[0].method.reply_code, 312)
        return
    raise AssertionError("was not returned")


@blocking("confirms: a refused message raises")
def _(_c, ch):
    q = name()
    ch.queue_declare(q, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    ch.confirm_delivery()
    ch.basic_publish("", q, b"1")
    try:
        ch.basic_publish("", q, b"2")
    except pika.exceptions.NackError:
        return
    raise AssertionError("was not refused")


@blocking("recover without requeue closes the connection with 540")
def _(_c, ch):
    try:
        ch.basic_recover(requeue=False)
    except pika.exceptions.ConnectionClosedByBroker as e:
        equal(e.reply_code, 540)
        return
    raise AssertionError("was not refused")


@blocking("consume as a generator, in order, and cancel")
def _(_c, ch):
    q = name()
    ch.queue_declare(q)
    for k in range(20):
        ch.basic_publish("", q, str(k))
    got = taken(ch, q, 10)
    equal([int(b) for _, _, b in got], list(range(10)))
    ch.basic_ack(got[-1][0].delivery_tag, multiple=True)
    ch.cancel()
    equal(eventually(lambda: ch.queue_declare(q, passive=True).method.message_count == 10, "ten remain"), True)


@blocking("consume with callbacks; start_consuming and stop_consuming")
def _(_c, ch):
    q, got = name(), []
    ch.queue_declare(q)
    ch.basic_qos(prefetch_count=2)

    def on_message(channel, method, _properties, body):
        got.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(got) == 10:
            channel.stop_consuming()

    ch.basic_consume(q, on_message)
    for k in range(10):
        ch.basic_publish("", q, str(k))
    ch.start_consuming()
    equal(got, [str(k).encode() for k in range(10)])


@blocking("callbacks from another thread")
def _(c, ch):
    q, got = name(), []
    ch.queue_declare(q)

    def work(method):
        c.add_callback_threadsafe(lambda: (ch.basic_ack(method.delivery_tag), got.append(1), ch.stop_consuming()))

    ch.basic_consume(q, lambda _ch, method, _p, _b: threading.Thread(target=work, args=(method,)).start())
    ch.basic_publish("", q, b"x")
    ch.start_consuming()
    equal(got, [1])


@blocking("nack and reject; recover")
def _(_c, ch):
    q = name()
    ch.queue_declare(q)
    ch.confirm_delivery()
    ch.basic_publish("", q, b"x")
    method, _, _ = ch.basic_get(q)
    ch.basic_nack(method.delivery_tag)
    method, _, _ = ch.basic_get(q)
    equal(method.redelivered, True)
    ch.basic_reject(method.delivery_tag, requeue=True)
    method, _, _ = ch.basic_get(q)
    ch.basic_recover(requeue=True)
    method, _, _ = ch.basic_get(q)
    equal(method.redelivered, True)
    ch.basic_reject(method.delivery_tag, requeue=False)
    equal(ch.basic_get(q)[0], None)


@blocking("exchanges of all types, bindings, exchange-to-exchange")
def _(_c, ch):
    q = name()
    ch.queue_declare(q)
    ch.confirm_delivery()
    for kind, key, arguments in (("direct", "k", None), ("fanout", "", None), ("topic", "k.#", None), ("headers", "", {"x-match": "all", "h": 1})):
        x, front = name(), name()
        ch.exchange_declare(x, exchange_type=kind)
        ch.exchange_declare(front, exchange_type="fanout", auto_delete=True)
        ch.exchange_bind(destination=x, source=front)
        ch.queue_bind(q, x, key, arguments=arguments)
        ch.basic_publish(front, "k", kind, pika.BasicProperties(headers={"h": 1}))
        equal(ch.basic_get(q, auto_ack=True)[2], kind.encode())
        ch.queue_unbind(q, x, key, arguments=arguments)
        ch.basic_publish(front, "k", kind, pika.BasicProperties(headers={"h": 1}))
        equal(ch.basic_get(q, auto_ack=True)[0], None)
        ch.exchange_unbind(destination=x, source=front)
        ch.exchange_delete(x)


@blocking("transactions: commit and rollback")
def _(c, ch):
    q = name()
    ch.queue_declare(q)
    other = c.channel()
    ch.tx_select()
    ch.basic_publish("", q, b"1")
    equal(other.basic_get(q)[0], None)
    ch.tx_commit()
    method, _, _ = ch.basic_get(q)
    equal(method is not None, True)
    ch.basic_ack(method.delivery_tag)
    ch.basic_publish("", q, b"2")
    ch.tx_rollback()
    ch.tx_commit()
    equal(other.basic_get(q)[0], None)


@blocking("dead letters of expired messages")
def _(_c, ch):
    q, dead = name(), name()
    ch.queue_declare(dead)
    ch.queue_declare(q, arguments={"x-message-ttl": 100, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    ch.basic_publish("", q, b"x")
    _, properties, _ = eventually(lambda: [m for m in [ch.basic_get(dead, auto_ack=True)] if m[0]], "the dead letter")[0]
    death = properties.headers["x-death"][0]
    equal((death["reason"], death["queue"], death["count"]), ("expired", q, 1))


@blocking("queue: delete, purge, exclusive, server-named, if-unused")
def _(c, ch):
    q = ch.queue_declare("", exclusive=True).method.queue
    equal(q.startswith("amq.gen-"), True)
    ch.confirm_delivery()
    ch.basic_publish("", q, b"x")
    equal(ch.queue_purge(q).method.message_count, 1)
    equal(ch.queue_delete(q, if_unused=True).method.message_count, 0)


@blocking("errors close the channel; the connection goes on")
def _(c, _ch):
    q = name()
    c.channel().queue_declare(q, durable=True)
    fails(404, lambda: c.channel().queue_declare("nowhere", passive=True))
    text = fails(406, lambda: c.channel().queue_declare(q))
    equal(text, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '%s' in vhost '/': received 'false' but current is 'true'" % q)
    fails(403, lambda: c.channel().queue_declare("amq.mine"))
    fails(404, lambda: c.channel().basic_consume("nowhere", print))
    ch = c.channel()
    ch.basic_ack(99)
    fails(406, lambda: ch.queue_declare("", exclusive=True))
    equal(c.is_open, True)


@blocking("a consumer is cancelled when its queue is deleted")
def _(c, ch):
    q = name()
    ch.queue_declare(q)
    cancelled = []
    ch.add_on_cancel_callback(cancelled.append)
    ch.basic_consume(q, lambda *_: None)
    c.channel().queue_delete(q)
    eventually(lambda: c.process_data_events(time_limit=0.1) or cancelled, "the cancel")


@blocking("direct reply-to")
def _(_c, ch):
    server = pika.BlockingConnection(parameters(1))
    sch, q, got = server.channel(), name(), []
    sch.queue_declare(q)
    ch.basic_consume("amq.rabbitmq.reply-to", lambda _ch, _m, p, body: (got.append((p.correlation_id, body)), ch.stop_consuming()), auto_ack=True)
    ch.basic_publish("", q, b"ping", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="7"))
    method, properties, _ = eventually(lambda: [m for m in [sch.basic_get(q)] if m[0]], "the request")[0]
    sch.basic_publish("", properties.reply_to, b"pong", pika.BasicProperties(correlation_id=properties.correlation_id))
    ch.start_consuming()
    equal(got, [("7", b"pong")])
    server.close()


@blocking("heartbeats every second keep an idle connection", heartbeat=1)
def _(c, ch):
    for _ in range(5):
        c.process_data_events(time_limit=1)
    ch.queue_declare("", exclusive=True)


@blocking("a body of 5 MiB in frames of 4096 octets", frame_max=4096)
def _(_c, ch):
    q = name()
    ch.queue_declare(q)
    ch.confirm_delivery()
    ch.basic_publish("", q, b"x" * (5 << 20))
    equal(len(ch.basic_get(q, auto_ack=True)[2]), 5 << 20)


@test("blocking: a wrong password")
def _():
    for options in ({}, {"client_properties": {"capabilities": {"authentication_failure_close": False}}}):
        try:
            pika.BlockingConnection(parameters(0, credentials=pika.PlainCredentials("guest", "wrong"), **options))
        except (pika.exceptions.ProbableAuthenticationError, pika.exceptions.AMQPConnectionError):
            continue
        raise AssertionError("was let in")


@test("blocking: a virtual host that is not there")
def _():
    try:
        pika.BlockingConnection(parameters(0, virtual_host="nowhere"))
    except pika.exceptions.ProbableAccessDeniedError as e:
        assert "530" in str(e), e
        return
    raise AssertionError("was let in")


@test("blocking: connects to the next node when the first is unknown")
def _():
    dead = pika.ConnectionParameters("127.0.0.1", 1)
    connection = pika.BlockingConnection([dead, parameters(1), parameters(2)])
    connection.channel()
    connection.close()


class Flow:
    """A SelectConnection that declares, publishes with confirms and consumes, until all came back."""

    def __init__(self, node, count):
        self.count, self.queue, self.got, self.confirmed, self.error = count, name(), [], 0, None
        self.connection = pika.SelectConnection(parameters(node), on_open_callback=self.on_open, on_open_error_callback=self.on_error, on_close_callback=self.on_close)

    def run(self):
        self.connection.ioloop.start()
        if self.error:
            raise AssertionError(self.error)

    def on_error(self, _connection, error):
        self.error = error
        self.connection.ioloop.stop()

    def on_close(self, _connection, reason):
        if reason.reply_code != 200:
            self.error = reason
        self.connection.ioloop.stop()

    def on_open(self, connection):
        connection.channel(on_open_callback=self.on_channel)

    def on_channel(self, channel):
        self.channel = channel
        channel.basic_qos(prefetch_count=10, callback=lambda _: channel.queue_declare(self.queue, callback=self.on_declared))

    def on_declared(self, _frame):
        self.channel.confirm_delivery(self.on_confirm, callback=self.on_ready)

    def on_confirm(self, frame):
        if frame.method.NAME != "Basic.Ack":
            self.error = frame
        self.confirmed = frame.method.delivery_tag
        self.check()

    def on_ready(self, _frame):
        self.channel.basic_consume(self.queue, self.on_message)
        for k in range(self.count):
            self.channel.basic_publish("", self.queue, str(k))

    def on_message(self, channel, method, _properties, body):
        self.got.append(int(body))
        channel.basic_ack(method.delivery_tag)
        self.check()

    def check(self):
        if len(self.got) >= self.count and self.confirmed >= self.count and not self.connection.is_closing:
            self.connection.close()


@test("select: publish with confirms and consume")
def _():
    flow = Flow(None, 300)
    flow.run()
    equal(flow.got, list(range(300)))


@test("select: errors of a channel reach its callback")
def _():
    closed = []

    def on_channel(channel):
        channel.add_on_close_callback(lambda _ch, reason: (closed.append(reason.reply_code), connection.close()))
        channel.queue_declare("nowhere", passive=True)

    connection = pika.SelectConnection(parameters(), on_open_callback=lambda c: c.channel(on_open_callback=on_channel), on_close_callback=lambda c, _: c.ioloop.stop())
    connection.ioloop.start()
    equal(closed, [404])


@test("select: returns")
def _():
    returned = []

    def on_channel(channel):
        channel.add_on_return_callback(lambda _ch, method, _p, body: (returned.append((method.reply_code, body)), connection.close()))
        channel.basic_publish("", "nowhere", b"x", mandatory=True)

    connection = pika.SelectConnection(parameters(), on_open_callback=lambda c: c.channel(on_open_callback=on_channel), on_close_callback=lambda c, _: c.ioloop.stop())
    connection.ioloop.start()
    equal(returned, [(312, b"x")])


def fault_test(title):
    """A test that kills a node. With CHAOS faults come from elsewhere, and two at a time are more than three nodes bear."""
    return (lambda body: body) if os.environ.get("CHAOS") else test(title)


@fault_test("the leader dies: connections to the other nodes stay")
def _():
    leader = control("/leader")
    others = [k for k in range(len(NODES)) if "n%d" % (k + 1) != leader]
    publisher, consumer = pika.BlockingConnection(parameters(others[0])), pika.BlockingConnection(parameters(others[1]))
    pch, cch, q = publisher.channel(), consumer.channel(), name()
    pch.queue_declare(q)
    pch.confirm_delivery()
    fault = threading.Thread(target=lambda: (control("/kill?node=" + leader), control("/start?node=" + leader)))
    fault.start()
    sent = 0
    while fault.is_alive() or sent < 200:
        pch.basic_publish("", q, str(sent))
        sent += 1
    fault.join()
    got = []
    for method, _, body in cch.consume(q, inactivity_timeout=20):
        got.append(int(body))
        cch.basic_ack(method.delivery_tag)
        if len(got) == sent:
            break
    equal(got, list(range(sent)))
    publisher.close()
    consumer.close()


@fault_test("select: another leader in the middle")
def _():
    leader = control("/leader")
    node = next(k for k in range(len(NODES)) if "n%d" % (k + 1) != leader)
    fault = threading.Thread(target=lambda: (control("/kill?node=" + leader), control("/start?node=" + leader)))
    fault.start()
    flow = Flow(node, 3000)
    flow.run()
    fault.join()
    equal(flow.got, list(range(3000)))


run()
