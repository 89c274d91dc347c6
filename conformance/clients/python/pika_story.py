# pika: the blocking connection, and the asynchronous one for what the broker says by itself.
import datetime
import decimal
import ssl

import pika
from common import AUTHORITY, URL, ask, lost, name, say
from pika import exceptions

HEADERS = {
    "text": "Häsin",
    "bytes": b"\x00\xff",
    "yes": True,
    "no": False,
    "small": 7,
    "negative": -7,
    "big": 2**62,
    "very negative": -(2**62),
    "decimal": decimal.Decimal("3.14"),
    "negative decimal": decimal.Decimal("-3"),
    "time": datetime.datetime(2026, 2, 3, 4, 5, 6),
    "nothing": None,
    "list": [1, "two", [3], {"four": 4}, None],
    "table": {"inner": {"deep": [True, b"x"]}},
    "empty": {},
}


def connect(**settings):
    parameters = pika.URLParameters(URL)
    parameters.socket_timeout = 60
    parameters.stack_timeout = 60
    parameters.blocked_connection_timeout = 60
    if AUTHORITY is not None:
        parameters.ssl_options = pika.SSLOptions(ssl.create_default_context(cafile=AUTHORITY), "localhost")
    for key, value in settings.items():
        setattr(parameters, key, value)
    return pika.BlockingConnection(parameters)


def refused(**settings):
    try:
        connect(**settings)
        return None
    except exceptions.ConnectionClosedByBroker as error:
        return [error.reply_code, error.reply_text]
    except exceptions.AMQPConnectionError as error:
        return [type(error).__name__, str(error)]


def closed_with(work):
    """The code and text with which the broker closes the channel during `work`."""
    channel = connection.channel()
    try:
        work(channel)
        return None
    except exceptions.ChannelClosedByBroker as error:
        return [error.reply_code, error.reply_text]


def read(queue, count, channel=None):
    got = []
    for method, properties, body in (channel or connection.channel()).consume(
        queue, auto_ack=True, inactivity_timeout=60
    ):
        if method is None:
            break
        got.append((method, properties, body))
        if len(got) == count:
            break
    return got


def count(queue):
    return connection.channel().queue_declare(queue, passive=True).method.message_count


say("wrong password", refused(credentials=pika.PlainCredentials("guest", "wrong")))
say("wrong vhost", refused(virtual_host="nowhere"))

connection = connect()
channel = connection.channel()

# Exchanges of all types.
saw = {}
for kind, binding, arguments, keys in (
    ("direct", "a", None, ["a", "b"]),
    ("fanout", "", None, ["a", "b"]),
    ("topic", "*.hare.#", None, ["brown.hare", "brown.hare.runs.far", "hare.runs"]),
    ("headers", "", {"x-match": "all", "colour": "brown", "legs": 4}, ["with", "without"]),
):
    exchange, queue = name(kind), name(kind + ".queue")
    channel.exchange_declare(exchange, kind, auto_delete=True)
    channel.queue_declare(queue, exclusive=True)
    channel.queue_bind(queue, exchange, binding, arguments)
    for key in keys:
        headers = {"colour": "brown", "legs": 4} if key == "with" else {"colour": "brown"}
        channel.basic_publish(exchange, key, b"", pika.BasicProperties(headers=headers))
    saw[kind] = []
    while True:
        method, _, _ = channel.basic_get(queue, auto_ack=True)
        if method is None:
            break
        saw[kind].append(method.routing_key)
say("exchanges", saw)

channel.exchange_declare(name("inner"), "fanout", internal=True, auto_delete=True)
channel.exchange_declare(name("outer"), "direct", auto_delete=True, arguments={"alternate-exchange": name("inner")})
channel.exchange_bind(name("inner"), name("outer"), "through")
queue = channel.queue_declare("", exclusive=True).method.queue
channel.queue_bind(queue, name("inner"))
for key in ("through", "elsewhere"):
    channel.basic_publish(name("outer"), key, key.encode())
say("exchange to exchange", [body.decode() for _, _, body in read(queue, 2)])

# Queues and their arguments.
queue = name("arguments")
arguments = {
    "x-message-ttl": 3600000,
    "x-expires": 7200000,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "elsewhere",
    "x-max-length": 3,
    "x-max-length-bytes": 2**33,
    "x-overflow": "drop-head",
    "x-max-priority": 5,
    "x-single-active-consumer": True,
    "x-queue-mode": "lazy",
}
channel.queue_declare(queue, durable=True, arguments=arguments)
channel.queue_declare(queue, durable=True, arguments=arguments)
say("declared otherwise", closed_with(lambda c: c.queue_declare(queue, durable=True, arguments={**arguments, "x-max-length": 5})))
say("declared not durable", closed_with(lambda c: c.queue_declare(queue, arguments=arguments)))
say("bad argument", closed_with(lambda c: c.queue_declare(name("bad"), arguments={"x-message-ttl": "soon"})))
say("negative argument", closed_with(lambda c: c.queue_declare(name("bad"), arguments={"x-message-ttl": -1})))
for n in range(5):
    channel.basic_publish("", queue, str(n).encode(), pika.BasicProperties(priority=n))
say("length limit", [body.decode() for _, _, body in read(queue, 3)])
channel = connection.channel()
channel.queue_delete(queue)

# Properties and headers, straight and through a dead-letter exchange.
dead = name("dead")
channel.queue_declare(dead, exclusive=True)
queue = name("properties")
channel.queue_declare(queue, exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
sent = dict(
    content_type="text/plain",
    content_encoding="utf-8",
    headers=HEADERS,
    delivery_mode=2,
    priority=9,
    correlation_id="correlation",
    reply_to="reply",
    expiration="3600000",
    message_id="message",
    timestamp=1770000000,
    type="type",
    user_id="guest",
    app_id="app",
    cluster_id="cluster",
)
channel.basic_publish("", queue, b"body", pika.BasicProperties(**sent))
method, properties, body = channel.basic_get(queue)
say("properties", {k: v for k, v in properties.__dict__.items() if k != "headers"} | {"body": body.decode()})
say("headers lost", lost(HEADERS, properties.headers))
channel.basic_reject(method.delivery_tag, requeue=False)
method, properties, body = read(dead, 1, channel)[0]
death = properties.headers["x-death"][0]
say(
    "dead letter",
    {k: v for k, v in death.items() if k != "time"} | {"when": type(death["time"]).__name__, "expiration": properties.expiration},
)
say("headers lost by dead-lettering", [k for k in lost(HEADERS, properties.headers) if k in HEADERS])

# Confirms.
channel = connection.channel()
channel.confirm_delivery()
queue = name("confirms")
channel.queue_declare(queue, exclusive=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
saw = []
for n in range(4):
    try:
        channel.basic_publish("", queue if n < 3 else name("nobody"), b"x", mandatory=True)
        saw.append("ack")
    except exceptions.NackError as error:
        saw.append("nack")
    except exceptions.UnroutableError as error:
        returned = error.messages[0].method
        saw.append([returned.reply_code, returned.reply_text, returned.exchange, returned.routing_key])
say("confirms", saw)
try:
    channel.basic_publish("nowhere", "", b"")
    saw = None
except exceptions.ChannelClosedByBroker as error:
    saw = [error.reply_code, error.reply_text]
say("publish to nowhere", saw)

# Prefetch, ack, nack, reject, redelivery.
channel = connection.channel()
queue = name("tasks")
channel.queue_declare(queue, exclusive=True)
channel.basic_qos(prefetch_count=3)
for n in range(6):
    channel.basic_publish("", queue, str(n).encode())
got = []
tag = channel.basic_consume(queue, lambda c, method, properties, body: got.append((method, body.decode())))


def until(condition):
    while not condition():
        connection.process_data_events(time_limit=60)


until(lambda: len(got) >= 3)
channel.queue_declare(queue, passive=True)  # A round trip: what was on its way has come.
say("prefetch", [body for _, body in got])
channel.basic_ack(got[1][0].delivery_tag, multiple=True)
until(lambda: len(got) >= 5)
channel.basic_nack(got[2][0].delivery_tag, requeue=True)
until(lambda: len(got) >= 6)
channel.queue_declare(queue, passive=True)
say("redelivery", [[body, method.redelivered, method.delivery_tag] for method, body in got[3:]])
channel.basic_reject(got[3][0].delivery_tag, requeue=False)
channel.basic_ack(got[5][0].delivery_tag, multiple=True)
until(lambda: len(got) >= 7)
say("after reject", [body for _, body in got[6:]])
channel.basic_cancel(tag)
channel.basic_recover(requeue=True)
method, _, body = channel.basic_get(queue, auto_ack=True)
say("recovered", [body.decode(), method.redelivered, method.message_count])
say("unknown tag", closed_with(lambda c: (c.basic_ack(99), c.queue_declare(queue, passive=True))))

# Consumers: exclusive, twice the same tag, cancelled by the broker.
queue = name("consumers")
channel.queue_declare(queue)
channel.basic_consume(queue, lambda *_: None, exclusive=True, consumer_tag="mine")
say("exclusive consumer", closed_with(lambda c: c.basic_consume(queue, lambda *_: None)))
cancelled = []
channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
connection.channel().queue_delete(queue)
until(lambda: cancelled)
say("cancelled by the broker", cancelled)

# What belongs to another connection.
stranger = connect()
queue = name("exclusive")
stranger.channel().queue_declare(queue, exclusive=True)
say("exclusive queue", closed_with(lambda c: c.queue_declare(queue, passive=True)))
stranger.close()
say("gone with its connection", closed_with(lambda c: c.queue_declare(queue, passive=True)))

# get and transactions.
queue = name("get")
channel.queue_declare(queue, exclusive=True)
say("get nothing", channel.basic_get(queue)[0] is None)
tx = connection.channel()
tx.tx_select()
tx.basic_publish("", queue, b"one")
tx.basic_publish("", queue, b"two")
saw = [count(queue)]
tx.tx_commit()
saw.append(count(queue))
tx.basic_publish("", queue, b"three")
tx.tx_rollback()
saw.append(count(queue))
method, _, _ = tx.basic_get(queue)
tx.basic_ack(method.delivery_tag)
tx.tx_rollback()
tx.close()
saw.append(count(queue))
say("transactions", saw)
say("purge", channel.queue_purge(queue).method.message_count)
say("not in use", closed_with(lambda c: (c.basic_consume(queue, lambda *_: None), c.queue_delete(queue, if_unused=True))))

# RPC, with a queue for replies and without.
server = connection.channel()
server.queue_declare(name("rpc"), exclusive=True)


def serve(c, method, properties, body):
    c.basic_publish("", properties.reply_to, body.upper(), pika.BasicProperties(correlation_id=properties.correlation_id))


server.basic_consume(name("rpc"), serve, auto_ack=True)
client = connection.channel()
replies = []
for reply_to in (client.queue_declare("", exclusive=True).method.queue, "amq.rabbitmq.reply-to"):
    client.basic_consume(reply_to, lambda c, m, p, body: replies.append([p.correlation_id, body.decode()]), auto_ack=True)
    client.basic_publish(
        "", name("rpc"), reply_to[:3].encode(), pika.BasicProperties(reply_to=reply_to, correlation_id=str(len(replies)))
    )
    wanted = len(replies) + 1
    until(lambda: len(replies) >= wanted)
say("rpc", replies)

# Quorum queues and streams.
queue = name("quorum")
channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 2})
channel.confirm_delivery()
channel.basic_publish("", queue, b"x", pika.BasicProperties(delivery_mode=2))
saw = []
tag = channel.basic_consume(queue, lambda c, m, p, b: (saw.append((p.headers or {}).get("x-delivery-count")), c.basic_nack(m.delivery_tag)))
until(lambda: len(saw) >= 3)
say("quorum", saw)
channel.queue_delete(queue)
channel = connection.channel()
channel.confirm_delivery()
queue = name("stream")
channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "stream"})
for n in range(5):
    channel.basic_publish("", queue, str(n).encode())
channel.basic_qos(prefetch_count=10)
saw = []
channel.basic_consume(
    queue,
    lambda c, m, p, body: (saw.append([body.decode(), p.headers["x-stream-offset"]]), c.basic_ack(m.delivery_tag)),
    arguments={"x-stream-offset": 2},
)
until(lambda: len(saw) >= 3)
say("stream", saw)
channel.queue_delete(queue)

# Much.
channel = connection.channel()
queue = name("large")
channel.queue_declare(queue, exclusive=True)
body = bytes(range(256)) * 40960
channel.confirm_delivery()
channel.basic_publish("", queue, body)
channel.basic_publish("", queue, b"")
say("large", [b == sent for (_, _, b), sent in zip(read(queue, 2), (body, b""))])
channels = [connection.channel() for _ in range(100)]
say("channels", len([c for c in channels if c.queue_declare(queue, passive=True)]))
for c in channels:
    c.close()

channel.exchange_declare(name("internal"), "direct", internal=True)
say("internal exchange", closed_with(lambda c: (c.basic_publish(name("internal"), "", b""), c.queue_declare(queue, passive=True))))
channel.exchange_delete(name("internal"))

# An alarm: the broker blocks who publishes, and says so.
if ask("alarm"):
    other = connect()
    seen = []
    other.add_on_connection_blocked_callback(lambda c, frame: seen.append(frame.method.reason))
    other.add_on_connection_unblocked_callback(lambda c, frame: seen.append("unblocked"))
    publisher = other.channel()
    publisher.basic_publish("", name("nobody"), b"")
    while not seen:
        other.process_data_events(time_limit=60)
    ask("all clear")
    while len(seen) < 2:
        other.process_data_events(time_limit=60)
    say("blocked", seen)
    other.close()

# The broker goes, and comes again.
channel.queue_declare(name("kept"), durable=True)
channel.basic_publish("", name("kept"), b"kept", pika.BasicProperties(delivery_mode=2))
if ask("stop"):
    try:
        until(lambda: False)
    except exceptions.ConnectionClosedByBroker as error:
        saw = [error.reply_code, error.reply_text]
    say("stopped", saw)
    ask("start")
    connection = connect()
method, properties, body = connection.channel().basic_get(name("kept"), auto_ack=True)
say("kept", [body.decode(), method.redelivered])
connection.channel().queue_delete(name("kept"))
connection.close()
say("closed", connection.is_closed)
