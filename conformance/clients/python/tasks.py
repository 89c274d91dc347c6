# The tasks of the celery story: what its worker does. LEVERET_URL and LEVERET_PREFIX come by the environment.
import os

from celery import Celery

prefix = os.environ["LEVERET_PREFIX"]
app = Celery(prefix, broker=os.environ["LEVERET_URL"], backend="rpc://")
app.conf.update(
    task_default_queue=prefix + "celery",
    task_default_exchange=prefix + "celery",
    event_exchange=prefix + "celeryev",
    event_queue_prefix=prefix + "celeryev",
    control_exchange=prefix + "celery",
    task_acks_late=True,
    worker_send_task_events=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"confirm_publish": True},
)


@app.task
def add(a, b):
    return a + b


@app.task
def fails():
    raise ValueError("on purpose")


@app.task(bind=True, max_retries=2)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries
