"""Declaring, binding and deleting: who may, what is compared, and in which words it is refused."""
from pika import spec

from peer import Typed
from transcript import case


@case
def queue_declare_basics(t):
    c = t.channel()
    c.declare("o.q")
    c.declare("o.q")
    c.declare("o.q", passive=True)
    c.declare("o.q", passive=True, durable=True, exclusive=True, auto_delete=True, arguments={"x-max-length": 1})
    c.declare("o.none", passive=True)
    c.declare("")
    c.declare("", passive=True)
    c.do(spec.Queue.Declare(queue="o.nowait", nowait=True))
    c.declare("o.nowait", passive=True)
    c.do(spec.Queue.Declare(queue="o.missing", passive=True, nowait=True))
    t.queues.append("o.nowait")


@case
def queue_declare_empty_name_means_last(t):
    c = t.channel()
    c.do(spec.Queue.Bind(queue="", exchange="amq.direct", routing_key="k"))
    c.do(spec.Queue.Purge(queue=""))
    c.do(spec.Queue.Delete(queue=""))
    c.do(spec.Basic.Get(queue=""))
    c.do(spec.Basic.Consume(queue=""))
    c.declare("o.last")
    c.do(spec.Queue.Bind(queue="", exchange="amq.direct", routing_key=""))
    c.publish("amq.direct", "o.last", mandatory=True)
    c.publish("amq.direct", "", mandatory=True)
    c.do(spec.Queue.Bind(queue="", exchange="amq.direct", routing_key="k"))
    c.publish("amq.direct", "k")
    c.get("")
    c.declare("", passive=True)
    c.do(spec.Queue.Unbind(queue="", exchange="amq.direct", routing_key="k"))
    c.do(spec.Queue.Delete(queue=""))
    c.do(spec.Basic.Get(queue=""))


@case
def queue_inequivalent_flags(t):
    c = t.channel()
    c.declare("o.plain")
    c.declare("o.plain", durable=True)
    c.declare("o.plain", auto_delete=True)
    c.declare("o.plain", exclusive=True)
    c.declare("o.plain", durable=True, auto_delete=True, arguments={"x-max-length": 1})
    c.declare("o.durable", durable=True)
    c.declare("o.durable")
    c.declare("o.auto", auto_delete=True)
    c.declare("o.auto")
    c.declare("o.excl", exclusive=True)
    c.declare("o.excl", exclusive=True)
    c.declare("o.excl")
    c.declare("o.excl", exclusive=True, durable=True)
    c.declare("o.excl", exclusive=True, auto_delete=True)


INEQUIVALENT = [("x-message-ttl", 1000, 2000), ("x-expires", 60000, 70000), ("x-max-length", 10, 20), ("x-max-length-bytes", 1000, 2000),
                ("x-overflow", "drop-head", "reject-publish"), ("x-dead-letter-exchange", "a", "b"), ("x-max-priority", 5, 6),
                ("x-single-active-consumer", True, False), ("x-queue-mode", "lazy", "default"), ("x-queue-type", "classic", "quorum"),
                ("x-queue-version", 1, 2), ("x-consumer-timeout", 60000, 70000), ("x-custom", "a", "b")]


@case
def queue_inequivalent_arguments(t):
    c = t.channel()
    for name, first, second in INEQUIVALENT:
        q = "o.ineq." + name
        durable = {"durable": name == "x-queue-type"}
        c.declare(q, arguments={name: first}, **durable)
        c.declare(q, arguments={name: first}, **durable)
        c.declare(q, arguments={name: second}, **durable)
        c.declare(q, **durable)
        c.declare(q + ".bare", **durable)
        c.declare(q + ".bare", arguments={name: first}, **durable)


@case
def queue_inequivalent_routing_key(t):
    c = t.channel()
    c.declare("o.dlk", arguments={"x-dead-letter-exchange": "a", "x-dead-letter-routing-key": "k"})
    c.declare("o.dlk", arguments={"x-dead-letter-exchange": "a", "x-dead-letter-routing-key": "l"})
    c.declare("o.dlk", arguments={"x-dead-letter-exchange": "a"})
    c.declare("o.dlk2", arguments={"x-dead-letter-routing-key": "l"})


@case
def queue_integers_compare_by_value(t):
    c = t.channel()
    c.declare("o.int", arguments={"x-message-ttl": 1000})
    for kind, fmt in (("l", "q"), ("I", "i"), ("s", "h"), ("i", "I")):
        c.declare("o.int", arguments={"x-message-ttl": Typed(kind, fmt, 1000)})
    c.declare("o.int8", arguments={"x-max-length": Typed("b", "b", 7)})
    c.declare("o.int8", arguments={"x-max-length": Typed("l", "q", 7)})
    c.declare("o.int8", arguments={"x-max-length": "7"})


WRONG = [1, -1, 0, "10", "", True, 1.5, [], {}, 1 << 40, 4294967295, 4294967296, 256, 255]


def wrong_arguments(name, extra=None, **flags):
    def run(t):
        c = t.channel()
        for value in WRONG:
            c.declare("o.wrong", arguments={name: value, **(extra or {})}, **flags)
            c.do(spec.Queue.Delete(queue="o.wrong"), quiet=True)
    run.__name__ = "queue_argument_" + name.replace("-", "_")
    return run


for argument in ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-max-priority", "x-overflow", "x-dead-letter-exchange",
                 "x-single-active-consumer", "x-queue-mode", "x-queue-type", "x-queue-version", "x-consumer-timeout", "x-custom"):
    case(wrong_arguments(argument))
case(wrong_arguments("x-dead-letter-routing-key", {"x-dead-letter-exchange": "x"}))
case(wrong_arguments("x-delivery-limit", {"x-queue-type": "quorum"}, durable=True))
case(wrong_arguments("x-dead-letter-strategy", {"x-queue-type": "quorum"}, durable=True))
case(wrong_arguments("x-quorum-initial-group-size", {"x-queue-type": "quorum"}, durable=True))


@case
def queue_argument_values(t):
    c = t.channel()
    for n, arguments in enumerate([{"x-overflow": "reject-publish"}, {"x-overflow": "reject-publish-dlx"}, {"x-overflow": "drop-tail"},
                                   {"x-queue-mode": "lazy"}, {"x-queue-mode": "eager"}, {"x-queue-type": "classic"}, {"x-queue-type": "nonsense"},
                                   {"x-single-active-consumer": True}, {"x-expires": 0}, {"x-message-ttl": 0}, {"x-max-length": 0},
                                   {"x-max-priority": 0}, {"x-queue-version": 3}, {"x-dead-letter-exchange": ""}]):
        c.declare(f"o.val{n}", arguments=arguments)


@case
def queue_quorum_restrictions(t):
    c = t.channel()
    c.declare("o.qq1", arguments={"x-queue-type": "quorum"})
    c.declare("o.qq2", durable=True, exclusive=True, arguments={"x-queue-type": "quorum"})
    c.declare("o.qq3", durable=True, auto_delete=True, arguments={"x-queue-type": "quorum"})
    c.declare("o.qq4", durable=True, arguments={"x-queue-type": "quorum", "x-max-priority": 5})
    c.declare("o.qq5", durable=True, arguments={"x-queue-type": "quorum", "x-queue-mode": "lazy"})
    c.declare("o.qq6", durable=True, arguments={"x-queue-type": "quorum", "x-message-ttl": 10000, "x-expires": 100000, "x-overflow": "drop-head"})
    c.declare("o.qq7", durable=True, arguments={"x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish", "x-dead-letter-exchange": "amq.fanout"})
    c.declare("o.qq8", durable=True, arguments={"x-queue-type": "quorum", "x-overflow": "reject-publish-dlx"})


@case
def queue_names(t):
    c = t.channel()
    c.declare("amq.mine")
    c.declare("amq.")
    c.declare("amq")
    c.declare("AMQ.mine")
    c.declare("amq.none", passive=True)
    c.declare("o.line\r\nbreak")
    c.declare("o.linebreak", passive=True)
    c.declare("o.ünïcode ☃")
    c.declare("o.ünïcode ☃", passive=True)
    c.declare("o." + "x" * 253)
    c.declare("o/slash#*")
    t.queues += ["amq", "AMQ.mine", "o.linebreak"]


@case
def queue_delete(t):
    c = t.channel()
    c.do(spec.Queue.Delete(queue="o.none"))
    c.do(spec.Queue.Delete(queue="o.none", if_empty=True, if_unused=True))
    c.declare("o.del")
    c.publish("", "o.del")
    c.publish("", "o.del")
    c.do(spec.Queue.Delete(queue="o.del", if_empty=True))
    c.do(spec.Basic.Consume(queue="o.del", consumer_tag="t"))
    c.next()
    c.next()
    d = t.channel()
    d.do(spec.Queue.Delete(queue="o.del", if_unused=True))
    d.do(spec.Queue.Delete(queue="o.del", if_unused=True, if_empty=True))
    d.do(spec.Queue.Delete(queue="o.del", if_empty=True))
    c.next()
    c.do(spec.Basic.Ack(2, True))
    c.do(spec.Queue.Delete(queue="o.del"))
    c.declare("amq.gen-not", passive=True)
    c.do(spec.Queue.Delete(queue="amq.gen-not"))


@case
def queue_purge(t):
    c = t.channel()
    c.do(spec.Queue.Purge(queue="o.none"))
    c.declare("o.purge")
    for _ in range(3):
        c.publish("", "o.purge", quiet=True)
    c.get("o.purge", no_ack=False)
    c.do(spec.Queue.Purge(queue="o.purge"))
    c.do(spec.Queue.Purge(queue="o.purge"))
    c.do(spec.Basic.Reject(1, True))
    c.declare("o.purge")
    c.do(spec.Queue.Purge(queue="o.purge", nowait=True))
    c.declare("o.purge")


@case
def queue_bind(t):
    c = t.channel()
    c.declare("o.b")
    c.exchange("o.x")
    c.bind("o.none", "o.x", "k")
    c.bind("o.b", "o.xnone", "k")
    c.bind("o.none", "o.xnone", "k")
    c.bind("o.b", "", "k")
    c.bind("o.b", "o.x", "k")
    c.bind("o.b", "o.x", "k")
    c.bind("o.b", "o.x", "k", arguments={"a": 1})
    c.publish("o.x", "k")
    c.declare("o.b")
    c.do(spec.Queue.Unbind(queue="o.b", exchange="o.x", routing_key="k", arguments={"a": 2}))
    c.do(spec.Queue.Unbind(queue="o.b", exchange="o.x", routing_key="k"))
    c.publish("o.x", "k")
    c.declare("o.b")
    c.do(spec.Queue.Unbind(queue="o.b", exchange="o.x", routing_key="k", arguments={"a": 1}))
    c.do(spec.Queue.Unbind(queue="o.b", exchange="o.x", routing_key="k"))
    c.do(spec.Queue.Unbind(queue="o.none", exchange="o.x", routing_key="k"))
    c.do(spec.Queue.Unbind(queue="o.b", exchange="o.xnone", routing_key="k"))
    c.do(spec.Queue.Unbind(queue="o.b", exchange="", routing_key="o.b"))
    c.publish("o.x", "k", mandatory=True)


@case
def queue_exclusive(t):
    a = t.channel()
    b = t.channel()
    a.declare("o.ex", exclusive=True)
    for method in (spec.Queue.Declare(queue="o.ex"), spec.Queue.Declare(queue="o.ex", exclusive=True), spec.Queue.Declare(queue="o.ex", passive=True),
                   spec.Queue.Bind(queue="o.ex", exchange="amq.direct", routing_key="k"),
                   spec.Queue.Unbind(queue="o.ex", exchange="amq.direct", routing_key="k"), spec.Queue.Purge(queue="o.ex"),
                   spec.Queue.Delete(queue="o.ex"), spec.Basic.Get(queue="o.ex"), spec.Basic.Consume(queue="o.ex")):
        b.do(method)
    b.publish("", "o.ex")
    a.declare("o.ex", exclusive=True)
    a.conn.close()
    b.declare("o.ex", passive=True)


@case
def queue_auto_delete(t):
    c = t.channel()
    c.declare("o.ad", auto_delete=True)
    c.get("o.ad")
    c.declare("o.ad", passive=True)
    c.do(spec.Basic.Consume(queue="o.ad", consumer_tag="one"))
    c.do(spec.Basic.Consume(queue="o.ad", consumer_tag="two"))
    c.do(spec.Basic.Cancel("one"))
    c.declare("o.ad", passive=True)
    c.do(spec.Basic.Cancel("two"))
    c.declare("o.ad", passive=True)


@case
def queue_deleted_under_consumer(t):
    c = t.channel()
    d = t.channel()
    c.declare("o.under")
    c.do(spec.Basic.Consume(queue="o.under", consumer_tag="one"))
    d.do(spec.Queue.Delete(queue="o.under"))
    c.next()
    c.do(spec.Basic.Cancel("one"))


@case
def exchange_declare(t):
    c = t.channel()
    for kind in ("direct", "fanout", "topic", "headers"):
        c.exchange("o.x." + kind, kind)
        c.exchange("o.x." + kind, kind)
        c.exchange("o.x." + kind, kind, durable=True)
        c.exchange("o.x." + kind, kind, auto_delete=True)
        c.exchange("o.x." + kind, kind, internal=True)
        c.exchange("o.x." + kind, "direct" if kind != "direct" else "fanout")
        c.exchange("o.x." + kind, "nonsense", passive=True)
    c.exchange("o.x.none", passive=True)
    c.exchange("o.x.bad", "nonsense")
    c.exchange("o.x.bad", "")
    c.exchange("o.x.delayed", "x-delayed-message")
    c.exchange("o.x.nowait", nowait=True)
    c.exchange("o.x.nowait", passive=True)


@case
def exchange_names(t):
    c = t.channel()
    for name in ("", "amq.direct", "amq.mine", "amq.", "amq"):
        c.exchange(name)
        c.exchange(name, passive=True)
        c.do(spec.Exchange.Delete(exchange=name))
    c.exchange("amq.direct", durable=True)
    c.exchange("amq.topic", durable=True)
    c.exchange("amq.match", "headers", durable=True)
    c.exchange("amq.headers", "headers", durable=True)
    c.exchange("amq.rabbitmq.trace", passive=True)
    c.exchange("o.line\r\nbreak")
    c.exchange("o.linebreak", passive=True)
    t.exchanges.append("o.linebreak")


@case
def exchange_alternate(t):
    c = t.channel()
    c.exchange("o.alt", "fanout")
    c.declare("o.altq")
    c.bind("o.altq", "o.alt")
    c.exchange("o.main", arguments={"alternate-exchange": "o.alt"})
    c.exchange("o.main", arguments={"alternate-exchange": "o.alt"})
    c.exchange("o.main", arguments={"alternate-exchange": "o.other"})
    c.exchange("o.main")
    c.exchange("o.plainx")
    c.exchange("o.plainx", arguments={"alternate-exchange": "o.alt"})
    c.exchange("o.bad", arguments={"alternate-exchange": 7})
    c.exchange("o.bad", arguments={"alternate-exchange": "amq.rabbitmq.log"})
    c.publish("o.main", "nowhere", mandatory=True, quiet=True)
    c.take("o.altq")
    c.exchange("o.dangling", arguments={"alternate-exchange": "o.absent"})
    c.publish("o.dangling", "nowhere", mandatory=True)
    c.exchange("o.loop1", arguments={"alternate-exchange": "o.loop2"})
    c.exchange("o.loop2", arguments={"alternate-exchange": "o.loop1"})
    c.publish("o.loop1", "nowhere", mandatory=True)


@case
def exchange_delete(t):
    c = t.channel()
    c.do(spec.Exchange.Delete(exchange="o.none"))
    c.do(spec.Exchange.Delete(exchange="o.none", if_unused=True))
    c.exchange("o.used")
    c.declare("o.usedq")
    c.bind("o.usedq", "o.used", "k")
    c.do(spec.Exchange.Delete(exchange="o.used", if_unused=True))
    c.do(spec.Exchange.Delete(exchange="o.used"))
    c.publish("o.used", "k")
    c.exchange("o.auto", auto_delete=True)
    c.bind("o.usedq", "o.auto", "k")
    c.do(spec.Queue.Unbind(queue="o.usedq", exchange="o.auto", routing_key="k"))
    c.exchange("o.auto", passive=True)
    c.exchange("o.auto", auto_delete=True)
    c.bind("o.usedq", "o.auto", "k")
    c.do(spec.Queue.Delete(queue="o.usedq"))
    c.exchange("o.auto", passive=True)
    c.exchange("o.src")
    c.exchange("o.dst", auto_delete=True)
    c.do(spec.Exchange.Bind(destination="o.dst", source="o.src", routing_key="k"))
    c.do(spec.Exchange.Delete(exchange="o.src", if_unused=True))
    c.do(spec.Exchange.Delete(exchange="o.dst", if_unused=True))
    c.do(spec.Exchange.Delete(exchange="o.src", if_unused=True))


@case
def exchange_bind(t):
    c = t.channel()
    c.exchange("o.s")
    c.exchange("o.d", "fanout")
    c.declare("o.e2e")
    for destination, source in (("o.d", "o.none"), ("o.none", "o.s"), ("o.none1", "o.none2"), ("", "o.s"), ("o.d", "")):
        c.do(spec.Exchange.Bind(destination=destination, source=source, routing_key="k"))
        c.do(spec.Exchange.Unbind(destination=destination, source=source, routing_key="k"))
    c.bind("o.e2e", "o.d")
    c.do(spec.Exchange.Bind(destination="o.d", source="o.s", routing_key="k"))
    c.do(spec.Exchange.Bind(destination="o.s", source="o.d", routing_key="back"))
    c.publish("o.s", "k", mandatory=True)
    c.declare("o.e2e")
    c.do(spec.Exchange.Unbind(destination="o.d", source="o.s", routing_key="k"))
    c.do(spec.Exchange.Unbind(destination="o.d", source="o.s", routing_key="k"))
    c.publish("o.s", "k", mandatory=True)


@case
def exchange_internal(t):
    c = t.channel()
    c.exchange("o.in", "fanout", internal=True)
    c.publish("o.in", "k")
    c.exchange("o.out", "fanout")
    c.declare("o.inq")
    c.bind("o.inq", "o.in")
    c.do(spec.Exchange.Bind(destination="o.in", source="o.out", routing_key=""))
    c.publish("o.out", "k", mandatory=True)
    c.declare("o.inq")


HEADERS = [({"x-match": "all", "a": 1, "b": "x"}, "all"), ({"x-match": "any", "a": 1, "b": "x"}, "any"),
           ({"x-match": "all-with-x", "a": 1, "x-b": "x"}, "all-with-x"), ({"x-match": "any-with-x", "a": 1, "x-b": "x"}, "any-with-x"),
           ({"x-match": "all", "a": 1, "x-b": "x"}, "all, x- ignored"), ({"x-match": "any", "x-b": "x"}, "any, only x-"), ({}, "no match"),
           ({"a": 1}, "no x-match"), ({"x-match": "all"}, "all of nothing"), ({"x-match": "any"}, "any of nothing"), ({"a": None}, "presence"),
           ({"x-match": "any", "t": {"n": 1}}, "a table"), ({"x-match": "all", "f": True}, "a boolean"), ({"x-match": "all", "d": 1.0}, "a float")]


@case
def exchange_headers(t):
    c = t.channel()
    c.exchange("o.h", "headers")
    for n, (arguments, _) in enumerate(HEADERS):
        c.declare(f"o.h{n}", quiet=True)
        c.bind(f"o.h{n}", "o.h", f"k{n}", arguments)
    for headers in (None, {}, {"a": 1}, {"a": 1, "b": "x"}, {"b": "x"}, {"a": "1"}, {"a": Typed("l", "q", 1)}, {"a": Typed("b", "b", 1)}, {"a": 1, "x-b": "x"},
                    {"x-b": "x"}, {"a": 2, "b": "x"}, {"a": None}, {"a": True}, {"t": {"n": 1}}, {"f": True}, {"f": "true"}, {"d": 1}, {"d": 1.0}, {"b": b"x"}):
        c.publish("o.h", "k", headers=headers, quiet=True)
        reached = []
        for n, (_, label) in enumerate(HEADERS):
            c.send(spec.Queue.Purge(queue=f"o.h{n}"))
            if c.ch.method().message_count:
                reached.append(label)
        t.line(f"publish to a headers exchange {headers}", "reaches " + ("; ".join(reached) or "none"))
    for wrong in ({"x-match": "most"}, {"x-match": 1}, {"x-match": True}, {"x-match": "ALL"}):
        c.bind("o.h0", "o.h", "wrong", wrong)


@case
def exchange_topic(t):
    c = t.channel()
    c.exchange("o.t", "topic")
    keys = ["", "a", "*", "#", "a.b", "a.*", "*.b", "a.#", "#.b", "a.#.b", "#.#", "*.#", "#.*", "*.*", "a.*.#", "a..b", ".", "*.", "a.#.#.b", "A", "a#", "a*"]
    for n, key in enumerate(keys):
        c.declare(f"o.t{n}", quiet=True)
        c.bind(f"o.t{n}", "o.t", key, quiet=True)
    for key in ("", "a", "b", "a.b", "a.b.c", "a.c.b", "a..b", ".", "a.", ".b", "a.x.y.b", "*", "#", "a.*", "a#", "A", "..."):
        c.publish("o.t", key, quiet=True)
        reached = []
        for n, pattern in enumerate(keys):
            c.send(spec.Queue.Purge(queue=f"o.t{n}"))
            if c.ch.method().message_count:
                reached.append(repr(pattern))
        t.line(f"publish {key!r} to a topic exchange", "reaches " + (" ".join(reached) or "none"))
