"""The Celery application under test. Tasks leave marks in the folder DIR, one line a run, so that a test sees what ran, where and how often."""
import os
import time

from celery import Celery
from celery.exceptions import Reject
from kombu import Exchange, Queue
from kombu.common import Broadcast

DIR = os.environ["DIR"]
GATE_SECONDS = 30  # how long a task waits for its gate

app = Celery("conformance", backend="rpc://", broker=os.environ["BROKER"])
topic = Exchange("jobs", "topic")
app.conf.update(
    task_default_queue="work",
    task_queues=[
        Queue("work"),
        Queue("images", topic, routing_key="image.#"),
        Queue("mails", topic, routing_key="mail.*"),
        Queue("urgent", queue_arguments={"x-max-priority": 10}),
        Queue("refused", queue_arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "graveyard"}),
        Queue("graveyard"),
        Queue("safe", queue_arguments={"x-queue-type": "quorum"}),
        Broadcast("news"),
    ],
    task_routes={"tasks.picture": {"queue": "images", "routing_key": "image.resize.png"}, "tasks.mail": {"queue": "mails", "routing_key": "mail.welcome"}},
    task_publish_retry_policy={"max_retries": None, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.5},
    broker_connection_retry=True,
    broker_connection_max_retries=None,
    broker_transport_options={"confirm_publish": True},
    worker_send_task_events=True,
    task_send_sent_event=True,
    result_expires=600,
)


def mark(name, text=""):
    with open(os.path.join(DIR, name), "a", encoding="utf-8") as f:
        f.write(f"{text}\n")


def gate(name):
    """Waits until a test makes the file."""
    deadline = time.monotonic() + GATE_SECONDS
    while not os.path.exists(os.path.join(DIR, name)) and time.monotonic() < deadline:
        time.sleep(0.02)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True)
def picture(self):
    return self.request.delivery_info["routing_key"], self.request.hostname


@app.task(bind=True)
def mail(self):
    return self.request.delivery_info["routing_key"], self.request.hostname


@app.task
def wait_for(name):
    mark(f"waiting-{name}")
    gate(name)


@app.task
def note(name, text):
    mark(name, text)


@app.task(bind=True)
def who(self, name):
    mark(name, self.request.hostname)


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def late(self, name, number=0):
    """Runs to its end once its gate is open; a worker that is killed before leaves it to another."""
    mark(f"started-{name}", f"{number} {self.request.hostname} {self.request.delivery_info['redelivered']}")
    gate(f"open-{name}")
    mark(f"finished-{name}", f"{number}")
    return number


@app.task(bind=True, max_retries=5)
def flaky(self, name, failures):
    mark(name, f"{time.time()}")
    if self.request.retries < failures:
        raise self.retry(countdown=0.3)
    return self.request.retries


@app.task
def now():
    return time.time()


@app.task(acks_late=True)
def refuse():
    raise Reject("no use", requeue=False)


@app.task
def fail():
    raise ValueError("as asked")
