# celery: a worker with tasks, retries, tasks for later, results, events and remote control.
import os
import subprocess
import sys

from common import PREFIX, URL, say

os.environ.update(LEVERET_URL=URL, LEVERET_PREFIX=PREFIX)
sys.path.insert(0, os.path.dirname(__file__))
import tasks  # noqa: E402
from celery import chain  # noqa: E402

PATIENCE = 120
events = []


def watch_until(last):
    """Works, and listens to what the worker tells of it."""
    with tasks.app.connection_for_read() as connection:
        receiver = tasks.app.events.Receiver(connection, handlers={"*": lambda event: events.append(event["type"])})
        with receiver.consumer_context() as (live, *_):
            tasks.add.delay(1, 1)
            while last not in events:
                live.drain_events(timeout=PATIENCE)


worker = subprocess.Popen(
    [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-P", "solo", "-n", PREFIX + "@here", "-l", "WARNING", "-E", "--without-mingle", "--without-gossip"],
    cwd=os.path.dirname(os.path.abspath(__file__)),
    stdin=subprocess.DEVNULL,
    stdout=sys.stderr,
)
try:
    say("result", tasks.add.delay(2, 3).get(timeout=PATIENCE))
    say("for later", tasks.add.apply_async((20, 22), countdown=0.2).get(timeout=PATIENCE))
    say("tried again", tasks.third_time.delay().get(timeout=PATIENCE))
    say("chain", chain(tasks.add.s(1, 2), tasks.add.s(4))().get(timeout=PATIENCE))
    say("group", [result.get(timeout=PATIENCE) for result in [tasks.add.delay(n, n) for n in range(10)]])
    say("ping", list(tasks.app.control.ping(timeout=PATIENCE, limit=1)[0].values()))
    queues = tasks.app.control.inspect(timeout=PATIENCE, limit=1).active_queues()
    say("inspect", [queue["name"] for queue in list(queues.values())[0]])
    try:
        tasks.fails.delay().get(timeout=PATIENCE)
    except ValueError as error:
        say("failure", str(error))
    watch_until("task-succeeded")
    say("events", [event for event in events if event.startswith("task-")])
finally:
    worker.terminate()
    say("worker ended", worker.wait(PATIENCE))
with tasks.app.connection_for_write() as connection:
    channel = connection.channel()
    channel.queue_delete(PREFIX + "celery")
    for exchange in ("celery", "celeryev", "celery.pidbox"):
        channel.exchange_delete(PREFIX + exchange)
    channel.exchange_delete("reply." + PREFIX + "celery.pidbox")
