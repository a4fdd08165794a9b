"""Publishing, consuming, settling, confirms and transactions."""
from pika import spec

from peer import Typed
from transcript import case


@case
def publish_errors(t):
    c = t.channel()
    c.publish("o.none", "k")
    c.publish("o.none", "k", mandatory=True)
    c.publish("", "o.none")
    c.publish("", "o.none", mandatory=True)
    c.publish("", "o.none", immediate=True)
    c.declare("o.p")
    c.publish("", "o.p", immediate=True)
    for expiration in ("", "abc", "-1", "1.5", "1000", "0", " 5", "5 ", "4294967295", "4294967296", "99999999999999999999", "+5", "007"):
        c.publish("", "o.p", expiration=expiration)
        c.do(spec.Queue.Purge(queue="o.p"), quiet=True)
    c.publish("", "o.p", user_id="guest")
    c.publish("", "o.p", user_id="other")
    c.publish("", "o.p", user_id="")
    c.publish("", "o.p", delivery_mode=0)
    c.publish("", "o.p", delivery_mode=3)
    c.publish("", "o.p", priority=255)
    c.publish("", "o.p", headers={"CC": "text"})
    c.publish("", "o.p", headers={"CC": [1]})
    c.publish("", "o.p", headers={"BCC": "text"})
    c.publish("", "o.p", headers={"BCC": {"a": 1}})
    c.publish("", "o.p", headers={"x-death": "mine"})
    c.publish("amq.rabbitmq.trace", "k")


@case
def publish_properties(t):
    c = t.channel()
    c.declare("o.props")
    c.publish("", "o.props", b"body", content_type="text/plain", content_encoding="utf-8", headers={"s": "x", "i": 1, "n": None, "t": {"a": [1, "b"]}, "f": 1.5, "b": True,
              "big": 1 << 40, "oct": Typed("b", "b", -3), "sh": Typed("s", "h", -300), "u": Typed("i", "I", 4000000000), "bytes": b"\0\1"}, delivery_mode=2, priority=3,
              correlation_id="c", reply_to="r", expiration="100000", message_id="m", timestamp=1234567890, type="t", user_id="guest", app_id="a", cluster_id="cl")
    c.get("o.props")
    c.publish("", "o.props", b"")
    c.get("o.props")
    c.publish("", "o.props", b"x" * 300000)
    c.get("o.props")


@case
def cc_and_bcc(t):
    c = t.channel()
    for q in ("o.cc1", "o.cc2", "o.cc3"):
        c.declare(q)
    c.publish("", "o.cc1", headers={"CC": ["o.cc2", "o.cc1"], "BCC": ["o.cc3"], "z": 1})
    for q in ("o.cc1", "o.cc2", "o.cc3"):
        c.take(q)
        c.declare(q)
    c.publish("", "o.none", headers={"CC": ["o.cc2"]}, mandatory=True)
    c.take("o.cc2")
    c.publish("", "o.none", headers={"BCC": ["o.none2"]}, mandatory=True)
    c.publish("", "o.cc1", headers={"CC": []})
    c.take("o.cc1")
    c.publish("", "o.cc1", headers={"BCC": []})
    c.take("o.cc1")
    c.exchange("o.cct", "topic")
    c.bind("o.cc1", "o.cct", "a.*")
    c.bind("o.cc2", "o.cct", "b.*")
    c.publish("o.cct", "a.1", headers={"CC": ["a.2", "b.1"]})
    for q in ("o.cc1", "o.cc2"):
        c.take(q)
        c.declare(q)


@case
def get_edges(t):
    c = t.channel()
    c.get("o.none")
    c.declare("o.g")
    c.get("o.g")
    for n in range(3):
        c.publish("", "o.g", b"%d" % n, quiet=True)
    c.get("o.g", no_ack=False)
    c.get("o.g", no_ack=True)
    c.get("o.g", no_ack=False)
    c.get("o.g", no_ack=False)
    c.do(spec.Basic.Ack(1))
    c.do(spec.Basic.Ack(2))
    c.declare("o.g")


@case
def settle_errors(t):
    c = t.channel()
    c.declare("o.s")
    for method in (spec.Basic.Ack(1), spec.Basic.Ack(0), spec.Basic.Ack(0, True), spec.Basic.Ack(7, True), spec.Basic.Nack(1), spec.Basic.Nack(0, True), spec.Basic.Nack(0, False), spec.Basic.Reject(1), spec.Basic.Reject(0)):
        c.do(method)
    for n in range(4):
        c.publish("", "o.s", b"%d" % n, quiet=True)
    for n in range(4):
        c.get("o.s", no_ack=False)
    c.do(spec.Basic.Ack(2))
    c.do(spec.Basic.Ack(2))
    c.declare("o.s")
    for n in range(3):
        c.get("o.s", no_ack=False)
    c.do(spec.Basic.Nack(2, True, True))
    c.do(spec.Basic.Ack(3))
    c.do(spec.Basic.Ack(3, True))
    c.declare("o.s")
    for n in range(2):
        c.get("o.s", no_ack=False)
    c.do(spec.Basic.Nack(0, True, False))
    c.declare("o.s")


@case
def recover(t):
    c = t.channel()
    c.declare("o.r")
    for n in range(3):
        c.publish("", "o.r", b"%d" % n, quiet=True)
    for n in range(3):
        c.get("o.r", no_ack=False)
    c.do(spec.Basic.Recover(True))
    c.declare("o.r")
    c.get("o.r", no_ack=False)
    c.do(spec.Basic.RecoverAsync(True))
    c.declare("o.r")
    c.do(spec.Basic.Consume(queue="o.r", consumer_tag="t"))
    for _ in range(3):
        c.next()
    c.do(spec.Basic.Recover(False))


@case
def consume_edges(t):
    c = t.channel()
    c.do(spec.Basic.Consume(queue="o.none"))
    c.declare("o.c")
    c.do(spec.Basic.Consume(queue="o.c"))
    c.do(spec.Basic.Consume(queue="o.c", consumer_tag="t"))
    c.do(spec.Basic.Consume(queue="o.c", consumer_tag="t"))
    c.do(spec.Basic.Consume(queue="o.c", consumer_tag="x", exclusive=True))
    c.do(spec.Basic.Consume(queue="o.c", consumer_tag="x"))
    d = t.channel()
    d.do(spec.Basic.Consume(queue="o.c", consumer_tag="x"))
    c.do(spec.Basic.Consume(queue="o.c", consumer_tag="y", exclusive=True))
    c.do(spec.Basic.Cancel("unknown"))
    c.do(spec.Basic.Cancel("x"))
    c.do(spec.Basic.Cancel("x"))
    c.do(spec.Basic.Cancel("t", nowait=True))
    c.do(spec.Basic.Consume(queue="o.c", consumer_tag="n", nowait=True))
    c.publish("", "o.c", b"to n", quiet=True)
    c.next()
    c.do(spec.Basic.Consume(queue="o.c", consumer_tag="local", no_local=True))
    for value in (1, -1, 0, "1", True, 1.5, 1 << 40):
        c.do(spec.Basic.Consume(queue="o.c", consumer_tag=f"p{value}", arguments={"x-priority": value}))


@case
def consume_exclusive_twice(t):
    c = t.channel()
    d = t.channel()
    c.declare("o.ce")
    c.do(spec.Basic.Consume(queue="o.ce", consumer_tag="a", exclusive=True))
    d.do(spec.Basic.Consume(queue="o.ce", consumer_tag="b"))
    d.do(spec.Basic.Consume(queue="o.ce", consumer_tag="b", exclusive=True))
    d.get("o.ce")
    c.do(spec.Basic.Cancel("a"))
    d.do(spec.Basic.Consume(queue="o.ce", consumer_tag="b"))


@case
def consume_order_and_priority(t):
    c = t.channel()
    c.declare("o.cp", arguments={"x-max-priority": 5})
    for p in (0, 3, 9, 1, None, 5):
        c.publish("", "o.cp", b"p%s" % str(p).encode(), priority=p, quiet=True)
    for _ in range(6):
        c.get("o.cp")
    c.do(spec.Basic.Qos(0, 1, False))
    c.do(spec.Basic.Consume(queue="o.cp", consumer_tag="low", arguments={"x-priority": -5}))
    c.do(spec.Basic.Consume(queue="o.cp", consumer_tag="high", arguments={"x-priority": 5}))
    for n in range(3):
        c.publish("", "o.cp", b"%d" % n, quiet=True)
        c.next()
    c.quiet()
    c.send(spec.Basic.Ack(7))
    c.next()


@case
def single_active_consumer(t):
    c = t.channel()
    c.declare("o.sac", arguments={"x-single-active-consumer": True})
    c.do(spec.Basic.Consume(queue="o.sac", consumer_tag="first"))
    c.do(spec.Basic.Consume(queue="o.sac", consumer_tag="second"))
    c.do(spec.Basic.Consume(queue="o.sac", consumer_tag="third", exclusive=True))
    c.do(spec.Basic.Consume(queue="o.sac", consumer_tag="first"))
    c.do(spec.Basic.Consume(queue="o.sac", consumer_tag="second"))
    c.publish("", "o.sac", b"1", quiet=True)
    c.next()
    c.do(spec.Basic.Cancel("first"))
    c.publish("", "o.sac", b"2", quiet=True)
    c.next()
    c.get("o.sac")


@case
def qos(t):
    c = t.channel()
    c.do(spec.Basic.Qos(1, 0, False))
    c.do(spec.Basic.Qos(0, 65535, False))
    c.do(spec.Basic.Qos(0, 2, False))
    c.declare("o.qos")
    for n in range(6):
        c.publish("", "o.qos", b"%d" % n, quiet=True)
    c.do(spec.Basic.Consume(queue="o.qos", consumer_tag="a"))
    c.next()
    c.next()
    c.quiet()
    c.send(spec.Basic.Ack(1))
    c.next()
    c.do(spec.Basic.Qos(0, 1, True))
    c.quiet()
    c.send(spec.Basic.Ack(3, True))
    c.next()
    c.quiet()
    c.do(spec.Basic.Qos(0, 0, True))
    c.quiet()


@case
def confirms(t):
    c = t.channel()
    c.do(spec.Confirm.Select())
    c.do(spec.Confirm.Select())
    c.declare("o.cf")
    c.send(spec.Basic.Publish(0, "", "o.cf"), None, b"1")
    c.next()
    c.send(spec.Basic.Publish(0, "", "o.none"), None, b"2")
    c.next()
    c.send(spec.Basic.Publish(0, "", "o.none", True), None, b"3")
    c.next()
    c.next()
    c.do(spec.Confirm.Select(nowait=True))
    c.do(spec.Tx.Select())
    c.publish("o.none", "k")
    c.do(spec.Tx.Select())
    c.do(spec.Confirm.Select())


@case
def confirms_reject_publish(t):
    c = t.channel()
    c.declare("o.rp", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    c.do(spec.Confirm.Select())
    for n in range(3):
        c.send(spec.Basic.Publish(0, "", "o.rp", True), None, b"%d" % n)
        c.next()
    c.declare("o.rp")


@case
def tx(t):
    c = t.channel()
    c.do(spec.Tx.Commit())
    c.do(spec.Tx.Rollback())
    c.declare("o.tx")
    c.do(spec.Tx.Select())
    c.do(spec.Tx.Select())
    c.publish("", "o.tx", b"1")
    c.declare("o.tx")
    c.do(spec.Tx.Commit())
    c.declare("o.tx")
    c.publish("", "o.tx", b"2")
    c.do(spec.Tx.Rollback())
    c.do(spec.Tx.Commit())
    c.declare("o.tx")
    c.get("o.tx", no_ack=False)
    c.do(spec.Basic.Ack(1))
    c.do(spec.Basic.Ack(1))
    c.do(spec.Tx.Select())
    c.declare("o.tx")
    c.get("o.tx", no_ack=False)
    c.do(spec.Basic.Ack(1))
    c.do(spec.Tx.Rollback())
    c.do(spec.Basic.Ack(1))
    c.do(spec.Tx.Commit())
    c.declare("o.tx")
    c.publish("", "o.none", b"unroutable", mandatory=True)
    c.do(spec.Tx.Commit())
    c.publish("o.none", "k")
    c.do(spec.Tx.Select())
    c.publish("", "o.tx", b"before the error")
    c.publish("o.none", "k")
    c.declare("o.tx")


@case
def tx_nack_and_ack_multiple(t):
    c = t.channel()
    c.declare("o.txn")
    for n in range(4):
        c.publish("", "o.txn", b"%d" % n, quiet=True)
    c.do(spec.Tx.Select())
    for n in range(4):
        c.get("o.txn", no_ack=False)
    c.do(spec.Basic.Ack(2, True))
    c.do(spec.Basic.Nack(3, False, True))
    c.do(spec.Basic.Reject(4, False))
    c.declare("o.txn")
    c.do(spec.Tx.Commit())
    c.declare("o.txn")
    c.get("o.txn", no_ack=True)


@case
def tx_into_full_queue(t):
    """One of two messages has no room: what the client is told, and what is there then."""
    c = t.channel()
    c.declare("o.txfull", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    c.do(spec.Tx.Select())
    c.publish("", "o.txfull", b"1", quiet=True)
    c.publish("", "o.txfull", b"2", quiet=True)
    c.do(spec.Tx.Commit())
    c.take("o.txfull", seconds=0.5)


@case
def direct_reply_to(t):
    c = t.channel()
    c.do(spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=False))
    c.publish("", "o.none", reply_to="amq.rabbitmq.reply-to")
    c.do(spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r"))
    c.do(spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r2"))
    c.do(spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r"))
    c.declare("amq.rabbitmq.reply-to")
    c.declare("amq.rabbitmq.reply-to", passive=True)
    c.declare("o.rpc")
    c.publish("", "o.rpc", b"question", reply_to="amq.rabbitmq.reply-to")
    server = t.channel()
    asked = server.take("o.rpc")
    if asked is None:
        return
    reply_to = asked.properties.reply_to
    server.declare(reply_to, passive=True)
    server.declare(reply_to)
    server.publish("", reply_to, b"answer", headers={"a": 1})
    c.next()
    c.do(spec.Basic.Ack(1))
    server.bind(reply_to, "amq.direct", "k")
    server.get(reply_to)
    server.do(spec.Queue.Delete(queue=reply_to))
    server.publish("", "amq.rabbitmq.reply-to.nobody", b"answer", mandatory=True)
    server.declare("amq.rabbitmq.reply-to.nobody", passive=True)
    for method in (spec.Basic.Get(queue="amq.rabbitmq.reply-to"), spec.Queue.Purge(queue="amq.rabbitmq.reply-to"), spec.Queue.Delete(queue="amq.rabbitmq.reply-to")):
        c.do(method)
    server.do(spec.Confirm.Select())
    server.send(spec.Basic.Publish(0, "", reply_to, True), None, b"answer")
    server.next()
    server.next()


@case
def direct_reply_to_cancelled(t):
    c = t.channel()
    c.do(spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r"))
    c.do(spec.Basic.Cancel("r"))
    c.publish("", "o.none", reply_to="amq.rabbitmq.reply-to")
    c.do(spec.Basic.Consume(queue="amq.rabbitmq.reply-to", no_ack=True, consumer_tag="r", exclusive=True))
    c.do(spec.Basic.Consume(queue="amq.direct.none", no_ack=True, consumer_tag="r"))


@case
def channel_errors(t):
    c = t.channel()
    c.do(spec.Channel.Flow(False))
    c.do(spec.Channel.Flow(True))
    c.do(spec.Access.Request(realm="/data")) if hasattr(spec, "Access") else None
    c.do(spec.Channel.Open())
    c.declare("o.ch")
    c.do(spec.Channel.Close(200, "bye", 0, 0))
