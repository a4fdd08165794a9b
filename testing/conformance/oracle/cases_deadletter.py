"""Where messages go that are refused, too old or too many, and what their headers then say."""
from pika import spec

from transcript import case


def dead_letter_queue(c, arguments=None, source="o.work", **more):
    c.exchange("o.dlx", "topic")
    c.declare("o.dead")
    c.bind("o.dead", "o.dlx", "#")
    c.declare(source, arguments={"x-dead-letter-exchange": "o.dlx", **(arguments or {})}, **more)


@case
def dead_rejected(t):
    c = t.channel()
    dead_letter_queue(c)
    for settle in (lambda tag: spec.Basic.Reject(tag, False), lambda tag: spec.Basic.Nack(tag, False, False)):
        c.publish("", "o.work", b"m", headers={"mine": 1}, expiration="100000", quiet=True)
        c.do(settle(c.hold("o.work")))
        c.take("o.dead")


@case
def dead_expired(t):
    c = t.channel()
    dead_letter_queue(c, {"x-message-ttl": 50})
    c.publish("", "o.work", b"queue's", quiet=True)
    c.take("o.dead")
    c.publish("", "o.work", b"both", expiration="20", quiet=True)
    c.take("o.dead")
    c.publish("", "o.work", b"longer than the queue's", expiration="60000", quiet=True)
    c.take("o.dead")
    c.publish("", "o.work", b"at once", expiration="0", quiet=True)
    c.take("o.dead")
    c.declare("o.plainttl", arguments={"x-dead-letter-exchange": "o.dlx"})
    c.publish("", "o.plainttl", b"the message's", expiration="30", headers={"mine": 1}, quiet=True)
    c.take("o.dead")


@case
def dead_maxlen(t):
    c = t.channel()
    dead_letter_queue(c, {"x-max-length": 2})
    for n in range(4):
        c.publish("", "o.work", b"%d" % n, quiet=True)
    c.take("o.dead")
    c.take("o.dead")
    c.declare("o.work", passive=True)
    c.declare("o.bytes", arguments={"x-dead-letter-exchange": "o.dlx", "x-max-length-bytes": 10})
    for n in range(4):
        c.publish("", "o.bytes", b"%d" % n * 4, quiet=True)
    c.take("o.dead")
    c.take("o.dead")
    c.declare("o.bytes", passive=True)
    c.publish("", "o.bytes", b"x" * 20, quiet=True)
    for n in range(3):
        c.take("o.dead")
    c.declare("o.bytes", passive=True)


@case
def dead_reject_publish_dlx(t):
    c = t.channel()
    dead_letter_queue(c, {"x-max-length": 1, "x-overflow": "reject-publish-dlx"})
    c.do(spec.Confirm.Select())
    c.send(spec.Basic.Publish(0, "", "o.work"), None, b"1")
    c.next()
    c.send(spec.Basic.Publish(0, "", "o.work"), None, b"2")
    c.next()
    c.take("o.dead")
    c.declare("o.work", passive=True)


@case
def dead_routing_key(t):
    c = t.channel()
    dead_letter_queue(c, {"x-dead-letter-routing-key": "other.key", "x-message-ttl": 30})
    c.publish("", "o.work", b"m", quiet=True)
    c.take("o.dead")
    c.declare("o.second")
    c.publish("", "o.work", b"with CC", headers={"CC": ["o.second"], "BCC": ["o.none"]}, quiet=True)
    c.take("o.dead")
    c.take("o.second")


@case
def dead_cc_without_routing_key(t):
    c = t.channel()
    dead_letter_queue(c, {"x-message-ttl": 30})
    c.declare("o.second")
    c.publish("", "o.work", b"with CC", headers={"CC": ["o.second", "elsewhere"], "BCC": ["hidden"]}, quiet=True)
    c.take("o.dead")
    c.take("o.second")


@case
def dead_deep(t):
    """Through three queues, so that x-death has several tables, then round again, so that counts rise."""
    c = t.channel()
    c.declare("o.d1", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "o.d2"})
    c.declare("o.d2", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "o.d3"})
    c.declare("o.d3", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "o.d1"})
    c.publish("", "o.d1", b"round", expiration="30", headers={"mine": 1}, quiet=True)
    for q in ("o.d2", "o.d3", "o.d1", "o.d2", "o.d3"):
        c.do(spec.Basic.Reject(c.hold(q), False))
    c.take("o.d1")


def loop(c, *names, **arguments):
    """Queues each of which dead-letters to the next, and the last to the first."""
    for name, to in zip(names, names[1:] + names[:1]):
        c.declare(name, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": to, **arguments}, quiet=True)


def publish_confirmed(t, queue, body, **properties):
    """Publishes and waits until the message is in the queue: RabbitMQ answers how many a queue has before it takes what was sent earlier."""
    c = t.channel()
    c.do(spec.Confirm.Select(), quiet=True)
    c.publish("", queue, body, quiet=True, **properties)
    c.ch.method()


def await_empty(c, *queues):
    for queue in queues:
        c.await_count(queue, 0)
    for queue in queues:
        c.take(queue, seconds=0.5)


@case
def dead_cycle(t):
    """A cycle of expiry alone drops; the same with a rejection goes on."""
    c = t.channel()
    loop(c, "o.cyc", **{"x-message-ttl": 50})
    publish_confirmed(t, "o.cyc", b"drops")
    await_empty(c, "o.cyc")
    loop(c, "o.self")
    c.publish("", "o.self", b"stays", quiet=True)
    c.do(spec.Basic.Reject(c.hold("o.self"), False))
    c.do(spec.Basic.Reject(c.hold("o.self"), False))
    c.take("o.self")


@case
def dead_cycle_of_two(t):
    c = t.channel()
    loop(c, "o.ping", "o.pong", **{"x-message-ttl": 30})
    publish_confirmed(t, "o.ping", b"drops")
    await_empty(c, "o.ping", "o.pong")


@case
def dead_cycle_of_overflow(t):
    """Whichever automatic reason comes first, and from which of the queues: it drops."""
    c = t.channel()
    full = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "o.expires", "x-max-length": 0}
    c.declare("o.full", arguments=full)
    c.declare("o.expires", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "o.full", "x-message-ttl": 30})
    for first in ("o.full", "o.expires"):
        publish_confirmed(t, first, b"drops")
        await_empty(c, "o.full", "o.expires")
    loop(c, "o.one", **{"x-max-length": 1})
    publish_confirmed(t, "o.one", b"drops")
    publish_confirmed(t, "o.one", b"stays")
    c.take("o.one")


@case
def dead_cycle_with_rejection(t):
    """A retry: one queue's messages are rejected, the other's expire. Since the message was last in the queue that it goes to somebody has rejected it."""
    c = t.channel()
    c.declare("o.retry", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "o.wait"})
    c.declare("o.wait", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "o.retry", "x-message-ttl": 30})
    c.publish("", "o.retry", b"again and again", quiet=True)
    for _ in range(3):
        c.do(spec.Basic.Reject(c.hold("o.retry"), False))
    c.take("o.retry")


@case
def dead_cycle_beside_a_way_out(t):
    """Only the queue that closes the cycle is left out."""
    c = t.channel()
    c.exchange("o.fan", "fanout")
    c.declare("o.cyc", arguments={"x-dead-letter-exchange": "o.fan", "x-message-ttl": 30})
    c.declare("o.out")
    c.bind("o.cyc", "o.fan")
    c.bind("o.out", "o.fan")
    publish_confirmed(t, "o.cyc", b"goes out")
    c.take("o.out")
    await_empty(c, "o.cyc")


@case
def dead_cycle_of_forged_deaths(t):
    """What a client says of deaths may close a cycle."""
    c = t.channel()
    c.declare("o.src", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "o.to", "x-message-ttl": 30})
    c.declare("o.to")
    for reason in ("expired", "maxlen", "rejected"):
        publish_confirmed(t, "o.src", b"m", headers={"x-death": [{"queue": "o.to", "reason": reason, "count": 1, "exchange": "", "routing-keys": ["k"]}]})
        c.await_count("o.src", 0)
        c.take("o.to", seconds=0.5)


@case
def dead_without_exchange(t):
    c = t.channel()
    c.declare("o.nodlx", arguments={"x-dead-letter-exchange": "o.absent"})
    c.publish("", "o.nodlx", quiet=True)
    c.get("o.nodlx", no_ack=False)
    c.do(spec.Basic.Reject(1, False))
    c.declare("o.nodlx", passive=True)
    c.declare("o.nodlx2")
    c.publish("", "o.nodlx2", quiet=True)
    c.do(spec.Basic.Reject(c.hold("o.nodlx2"), False))
    c.declare("o.nodlx2")


@case
def dead_client_x_death(t):
    c = t.channel()
    dead_letter_queue(c)
    c.publish("", "o.work", b"text", headers={"x-death": "mine"}, quiet=True)
    c.do(spec.Basic.Reject(c.hold("o.work"), False))
    c.take("o.dead")
    forged = {"x-death": [{"queue": "o.work", "reason": "rejected", "count": 5, "exchange": "e", "routing-keys": ["k"]}], "x-first-death-queue": "forged"}
    c.publish("", "o.work", b"forged", headers=forged, quiet=True)
    c.do(spec.Basic.Reject(c.hold("o.work"), False))
    c.take("o.dead")


@case
def dead_tx(t):
    c = t.channel()
    dead_letter_queue(c)
    c.publish("", "o.work", b"m", quiet=True)
    c.do(spec.Tx.Select())
    c.get("o.work", no_ack=False)
    c.do(spec.Basic.Reject(1, False))
    c.do(spec.Tx.Commit())
    c.take("o.dead")


@case
def dead_purge_and_delete_do_not(t):
    c = t.channel()
    dead_letter_queue(c)
    c.publish("", "o.work", quiet=True)
    c.do(spec.Queue.Purge(queue="o.work"))
    c.publish("", "o.work", quiet=True)
    c.do(spec.Queue.Delete(queue="o.work"))
    c.declare("o.dead")


@case
def dead_delivery_limit(t):
    c = t.channel()
    dead_letter_queue(c, {"x-queue-type": "quorum", "x-delivery-limit": 2}, durable=True)
    c.publish("", "o.work", b"m", headers={"mine": 1}, quiet=True)
    for _ in range(3):
        c.do(spec.Basic.Nack(c.hold("o.work"), False, True))
    c.take("o.dead")


@case
def dead_consumer_tag(t):
    """Dead-lettered to a consumer: the delivery names the dead-letter exchange and the original key."""
    c = t.channel()
    dead_letter_queue(c)
    c.do(spec.Basic.Consume(queue="o.dead", consumer_tag="dead"))
    c.publish("", "o.work", b"m", quiet=True)
    c.get("o.work", no_ack=False)
    c.send(spec.Basic.Reject(1, False))
    c.next()


@case
def expiry(t):
    c = t.channel()
    c.declare("o.exp", arguments={"x-message-ttl": 0})
    c.publish("", "o.exp", quiet=True)
    c.get("o.exp")
    c.do(spec.Basic.Consume(queue="o.exp", consumer_tag="waits"))
    c.send(spec.Basic.Publish(0, "", "o.exp"), None, b"now")
    c.next()
    c.declare("o.gone", arguments={"x-expires": 100})
    c.await_gone("o.gone")


@case
def expiry_of_unacked(t):
    """A message that expired while it was held goes when it is returned."""
    c = t.channel()
    c.declare("o.held", arguments={"x-message-ttl": 100})
    c.publish("", "o.held", b"held", quiet=True)
    tag = c.hold("o.held")
    c.declare("o.clock", arguments={"x-expires": 300})
    c.await_gone("o.clock")
    c.do(spec.Basic.Reject(tag, True))
    c.await_count("o.held", 0)
    c.get("o.held")
