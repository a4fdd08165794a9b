"""rabbitmqadmin, every verb, against the management API. The first argument is the program."""

import json
import os
import subprocess
import sys
import tempfile

from tap import equal, eventually, run, test

PROGRAM = sys.argv[1]
NODES = [n.rsplit(":", 1) for n in os.environ["HTTP_NODES"].split(",")]
FOLDER = tempfile.mkdtemp()


def admin(*args, node=None, user="guest:guest", fails=False):
    """Runs the program through the balancer or on a node and returns what it prints."""
    name, password = user.split(":")
    at = ["-H", NODES[node][0], "-P", NODES[node][1]] if node is not None else []
    done = subprocess.run([sys.executable, PROGRAM, *at, "-u", name, "-p", password, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    assert (done.returncode != 0) == fails, "%s: status %d\n%s" % (" ".join(args), done.returncode, done.stdout)
    return done.stdout.strip()


def listed(what, *columns, **options):
    return json.loads(admin("-f", "raw_json", "list", what, *columns, **options))


def names(what, **options):
    return [o["name"] for o in listed(what, **options)]


def amqp():
    import pika
    return pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"]))


@test("show overview")
def _():
    overview = json.loads(admin("-f", "raw_json", "show", "overview"))
    overview = overview[0] if isinstance(overview, list) else overview
    equal(overview["product_name"], "TriageMQ")
    for key in ("cluster_name", "node", "rabbitmq_version", "erlang_version", "queue_totals", "object_totals", "listeners", "message_stats", "churn_rates"):
        assert key in overview, key


@test("list nodes")
def _():
    nodes = eventually(lambda: [n for n in [listed("nodes")] if all(node["running"] for node in n)], "all nodes run")[0]
    equal(len(nodes), 3)
    for n in nodes:
        for key in ("name", "uptime", "processors", "os_pid", "fd_total", "fd_used", "proc_total", "mem_limit", "mem_used", "mem_alarm", "disk_free", "disk_free_limit", "disk_free_alarm"):
            assert key in n, key


@test("declare, list and delete a queue")
def _():
    equal(admin("declare", "queue", "name=q", "durable=true", 'arguments={"x-max-priority": 7}', node=0), "queue declared")
    q = next(q for q in listed("queues", node=1) if q["name"] == "q")
    equal((q["durable"], q["auto_delete"], q["vhost"], q["arguments"]["x-max-priority"], q["messages"]), (True, False, "/", 7, 0))
    equal(admin("declare", "queue", "name=q", "durable=true", 'arguments={"x-max-priority": 7}', node=2), "queue declared")
    assert "inequivalent arg" in admin("declare", "queue", "name=q", "durable=false", fails=True)
    equal(admin("delete", "queue", "name=q"), "queue deleted")
    assert "q" not in names("queues")


@test("declare a quorum queue")
def _():
    admin("declare", "queue", "name=quorum", "queue_type=quorum")
    equal(next(q for q in listed("queues") if q["name"] == "quorum")["arguments"]["x-queue-type"], "quorum")
    admin("delete", "queue", "name=quorum")


@test("delete a queue that is not there")
def _():
    assert "Not found" in admin("delete", "queue", "name=nowhere", fails=True)


@test("declare, list and delete an exchange")
def _():
    admin("declare", "exchange", "name=x", "type=topic", "internal=false", 'arguments={"alternate-exchange": "amq.fanout"}')
    x = next(x for x in listed("exchanges") if x["name"] == "x")
    equal((x["type"], x["durable"], x["internal"], x["arguments"]), ("topic", True, False, {"alternate-exchange": "amq.fanout"}))
    assert "inequivalent arg 'type'" in admin("declare", "exchange", "name=x", "type=fanout", fails=True)
    admin("delete", "exchange", "name=x")
    assert "x" not in names("exchanges")


@test("declare, list and delete bindings")
def _():
    admin("declare", "queue", "name=bound")
    admin("declare", "exchange", "name=source", "type=headers")
    admin("declare", "binding", "source=source", "destination=bound", "routing_key=key", 'arguments={"x-match": "all", "a": 1}')
    admin("declare", "binding", "source=amq.fanout", "destination=source", "destination_type=exchange")
    mine = [b for b in listed("bindings") if b["source"] in ("source", "amq.fanout") or b["destination"] == "bound"]
    equal(sorted((b["source"], b["destination"], b["destination_type"], b["routing_key"]) for b in mine),
          [("", "bound", "queue", "bound"), ("amq.fanout", "source", "exchange", ""), ("source", "bound", "queue", "key")])
    key = next(b for b in mine if b["source"] == "source")["properties_key"]
    equal(admin("delete", "binding", "source=source", "destination_type=queue", "destination=bound", "properties_key=" + key), "binding deleted")
    admin("delete", "binding", "source=amq.fanout", "destination_type=exchange", "destination=source", "properties_key=~")
    equal([b for b in listed("bindings") if b["source"] in ("source", "amq.fanout")], [])
    admin("delete", "exchange", "name=source")
    admin("delete", "queue", "name=bound")


@test("publish and get")
def _():
    admin("declare", "queue", "name=work")
    equal(admin("publish", "routing_key=work", "payload=hello", 'properties={"content_type": "text/plain", "delivery_mode": 2, "headers": {"h": 1}}'), "Message published")
    equal(admin("publish", "exchange=amq.direct", "routing_key=nowhere", "payload=lost"), "Message published but NOT routed")
    equal(admin("publish", "routing_key=work", "payload=aGk=", "payload_encoding=base64"), "Message published")
    got = json.loads(admin("-f", "raw_json", "get", "queue=work", "count=2", "ackmode=ack_requeue_true"))
    equal([(m["payload"], m["payload_encoding"], m["message_count"], m["exchange"], m["routing_key"], m["redelivered"]) for m in got],
          [("hello", "string", 1, "", "work", False), ("hi", "string", 0, "", "work", False)])
    equal(got[0]["properties"], {"content_type": "text/plain", "delivery_mode": 2, "headers": {"h": 1}})
    got = json.loads(admin("-f", "raw_json", "get", "queue=work", "count=5", "ackmode=ack_requeue_false", "encoding=base64"))
    equal([(m["payload"], m["payload_encoding"], m["redelivered"]) for m in got], [("aGVsbG8=", "base64", True), ("aGk=", "base64", True)])
    equal(admin("get", "queue=work"), "No items")


@test("get into a file; reject without requeue")
def _():
    admin("publish", "routing_key=work", "payload=file")
    out = os.path.join(FOLDER, "payload")
    admin("get", "queue=work", "payload_file=" + out, "ackmode=reject_requeue_true")
    with open(out) as f:
        equal(f.read(), "file")
    admin("get", "queue=work", "ackmode=reject_requeue_false")
    equal(admin("get", "queue=work"), "No items")


@test("purge a queue")
def _():
    for _ in range(3):
        admin("publish", "routing_key=work", "payload=x")
    equal(eventually(lambda: next(q for q in listed("queues") if q["name"] == "work")["messages"], "the count"), 3)
    equal(admin("purge", "queue", "name=work"), "queue purged")
    equal(next(q for q in listed("queues") if q["name"] == "work")["messages"], 0)
    admin("delete", "queue", "name=work")


@test("virtual hosts")
def _():
    admin("declare", "vhost", "name=team")
    assert "team" in names("vhosts")
    admin("-V", "team", "declare", "queue", "name=theirs")
    equal(names("queues").count("theirs"), 1)
    equal([q["name"] for q in json.loads(admin("-V", "team", "-f", "raw_json", "list", "queues"))], ["theirs"])
    admin("delete", "vhost", "name=team")
    assert "team" not in names("vhosts") and "theirs" not in names("queues")


@test("users and permissions")
def _():
    admin("declare", "user", "name=ann", "password=secret", "tags=monitoring,policymaker")
    ann = next(u for u in listed("users") if u["name"] == "ann")
    equal(sorted(ann["tags"] if isinstance(ann["tags"], list) else ann["tags"].split(",")), ["monitoring", "policymaker"])
    admin("declare", "permission", "vhost=/", "user=ann", "configure=^ann", "write=.*", "read=^ann")
    p = next(p for p in listed("permissions") if p["user"] == "ann")
    equal((p["vhost"], p["configure"], p["write"], p["read"]), ("/", "^ann", ".*", "^ann"))
    admin("declare", "queue", "name=ann.mine", user="ann:secret")
    admin("declare", "queue", "name=other", user="ann:secret", fails=True)
    assert "other" not in names("queues")
    admin("list", "queues", user="ann:wrong", fails=True)
    admin("declare", "user", "name=bob", "password=secret", "tags=")
    admin("list", "users", user="bob:secret", fails=True)
    admin("delete", "permission", "vhost=/", "user=ann")
    equal([p for p in listed("permissions") if p["user"] == "ann"], [])
    admin("delete", "queue", "name=ann.mine")
    for name in ("ann", "bob"):
        admin("delete", "user", "name=" + name)
    equal([n for n in names("users") if n in ("ann", "bob")], [])


@test("a user by password hash")
def _():
    admin("declare", "user", "name=hashed", "password_hash=kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR", "hashing_algorithm=rabbit_password_hashing_sha256", "tags=administrator")
    admin("list", "queues", user="hashed:test12")
    admin("delete", "user", "name=hashed")


@test("policies")
def _():
    admin("declare", "queue", "name=limited")
    admin("declare", "policy", "name=p", "pattern=^limited$", 'definition={"max-length": 2}', "priority=3", "apply-to=queues")
    p = next(p for p in listed("policies") if p["name"] == "p")
    equal((p["pattern"], p["definition"], p["priority"], p["apply-to"], p["vhost"]), ("^limited$", {"max-length": 2}, 3, "queues", "/"))
    equal(next(q for q in listed("queues") if q["name"] == "limited")["policy"], "p")
    for k in range(4):
        admin("publish", "routing_key=limited", "payload=%d" % k)
    got = json.loads(admin("-f", "raw_json", "get", "queue=limited", "count=9", "ackmode=ack_requeue_false"))
    equal([m["payload"] for m in got], ["2", "3"])
    assert "alidation" in admin("declare", "policy", "name=bad", "pattern=.", 'definition={"max-length": -1}', fails=True)
    admin("delete", "policy", "name=p")
    equal([n for n in names("policies") if n == "p"], [])
    admin("delete", "queue", "name=limited")


@test("operator policies")
def _():
    admin("declare", "operator_policy", "name=o", "pattern=^strict", 'definition={"max-length": 1}', "apply-to=queues")
    equal(next(p for p in listed("operator_policies") if p["name"] == "o")["definition"], {"max-length": 1})
    admin("delete", "operator_policy", "name=o")
    assert "o" not in names("operator_policies")


@test("limits of a virtual host")
def _():
    admin("declare", "vhost", "name=small")
    admin("declare", "vhost_limit", "vhost=small", "name=max-queues", "value=1")
    equal(next(v for v in listed("vhost_limits") if v["vhost"] == "small")["value"], {"max-queues": 1})
    admin("-V", "small", "declare", "queue", "name=one")
    admin("-V", "small", "declare", "queue", "name=two", fails=True)
    admin("delete", "vhost_limit", "vhost=small", "name=max-queues")
    admin("-V", "small", "declare", "queue", "name=two")
    admin("delete", "vhost", "name=small")


@test("parameters: there are none of a component that is not there")
def _():
    equal([p for p in listed("parameters") if p["component"] == "shovel"], [])
    admin("declare", "parameter", "component=shovel", "name=s", "value={}", fails=True)


@test("connections, channels and consumers; close a connection")
def _():
    import pika
    connection = amqp()
    ch = connection.channel()
    q = ch.queue_declare("", exclusive=True).method.queue
    ch.basic_consume(q, lambda *_: None)
    theirs = eventually(lambda: listed("connections"), "the connection")[0]
    equal((theirs["user"], theirs["vhost"], theirs["protocol"], theirs["state"]), ("guest", "/", "AMQP 0-9-1", "running"))
    equal(eventually(lambda: listed("channels"), "the channel")[0]["connection_details"]["name"], theirs["name"])
    equal(eventually(lambda: listed("consumers"), "the consumer")[0]["queue"]["name"], q)
    admin("close", "connection", "name=" + theirs["name"])
    try:
        eventually(lambda: connection.process_data_events(time_limit=0.1), "the close")
    except pika.exceptions.ConnectionClosedByBroker as e:
        equal(e.reply_code, 320)
        eventually(lambda: not listed("connections"), "no connection")
        return
    raise AssertionError("was not closed")


@test("export and import definitions")
def _():
    admin("declare", "queue", "name=kept", 'arguments={"x-max-length": 5}')
    admin("declare", "exchange", "name=kept", "type=fanout")
    admin("declare", "binding", "source=kept", "destination=kept")
    admin("declare", "policy", "name=kept", "pattern=^kept", 'definition={"expires": 3600000}')
    out = os.path.join(FOLDER, "definitions.json")
    admin("export", out)
    with open(out) as f:
        d = json.load(f)
    for key in ("users", "vhosts", "permissions", "topic_permissions", "parameters", "global_parameters", "policies", "queues", "exchanges", "bindings"):
        assert key in d, key
    admin("delete", "queue", "name=kept")
    admin("delete", "exchange", "name=kept")
    admin("delete", "policy", "name=kept")
    admin("import", out)
    equal(next(q for q in listed("queues") if q["name"] == "kept")["arguments"]["x-max-length"], 5)
    equal([b["source"] for b in listed("bindings") if b["destination"] == "kept" and b["source"]], ["kept"])
    assert "kept" in names("policies")
    admin("import", out)
    admin("delete", "queue", "name=kept")
    admin("delete", "exchange", "name=kept")
    admin("delete", "policy", "name=kept")


@test("every format of a list")
def _():
    for form in ("raw_json", "pretty_json", "tsv", "long", "table", "kvp", "bash"):
        admin("-f", form, "list", "exchanges", "name", "type")
    admin("list", "queues", "vhost", "name", "node", "messages", "message_stats.publish_details.rate")
    admin("-S", "name", "-R", "-d", "3", "list", "exchanges")


run()
