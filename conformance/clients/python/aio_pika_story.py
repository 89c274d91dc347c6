# aio-pika: futures for everything, and connect_robust, which connects again and declares everything anew.
import asyncio
import datetime
import decimal

import aio_pika
import aiormq
import pamqp
from aio_pika import DeliveryMode, ExchangeType, Message
from common import URL, ask, lost, name, say
from yarl import URL as Address

HEADERS = {
    "text": "Häsin",
    "yes": True,
    "no": False,
    "small": 7,
    "negative": -700,
    "big": 2**62,
    "very negative": -(2**62),
    "double": -0.5,
    "decimal": decimal.Decimal("3.14"),
    "time": datetime.datetime(2026, 2, 3, 4, 5, 6),
    "nothing": None,
    "list": [1, "two", [3], {"four": 4}, None, -500],
    "table": {"inner": {"deep": [True, "x"]}},
    "empty": {},
}


async def refusal(work):
    """The code and text with which the broker ends what is done."""
    try:
        await work
    except pamqp.exceptions.AMQPInternalError as error:
        return [error.args[1].reply_code, error.args[1].reply_text]
    except aiormq.exceptions.AMQPError as error:
        return [type(error).__name__, str(error)]


async def drain(queue):
    bodies = []
    while message := await queue.get(no_ack=True, fail=False):
        bodies.append(message.body.decode())
    return bodies


async def main():
    url = Address(URL)
    say("wrong password", await refusal(aio_pika.connect(str(url.with_password("wrong")))))
    say("wrong vhost", await refusal(aio_pika.connect(str(url.with_path("/nowhere")))))
    connection = await aio_pika.connect(URL)

    async def closed_with(work):
        return await refusal(work(await connection.channel()))

    channel = await connection.channel()
    saw = {}
    for kind, key, arguments, keys in (
        (ExchangeType.DIRECT, "a", None, ["a", "b"]),
        (ExchangeType.FANOUT, "", None, ["a", "b"]),
        (ExchangeType.TOPIC, "*.hare.#", None, ["brown.hare", "brown.hare.runs.far", "hare.runs"]),
        (ExchangeType.HEADERS, "", {"x-match": "all", "colour": "brown", "legs": 4}, ["with", "without"]),
    ):
        exchange = await channel.declare_exchange(name(kind.value), kind, auto_delete=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, key, arguments=arguments)
        for k in keys:
            headers = {"colour": "brown", "legs": 4} if k == "with" else {"colour": "brown"}
            await exchange.publish(Message(k.encode(), headers=headers), k)
        saw[kind.value] = await drain(queue)
    say("exchanges", saw)

    inner = await channel.declare_exchange(name("inner"), ExchangeType.FANOUT, auto_delete=True)
    outer = await channel.declare_exchange(name("outer"), auto_delete=True, arguments={"alternate-exchange": inner.name})
    await inner.bind(outer, "through")
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(inner)
    for key in ("through", "elsewhere"):
        await outer.publish(Message(key.encode()), key)
    say("exchange to exchange", await drain(queue))

    dead = await channel.declare_queue(exclusive=True)
    queue = await channel.declare_queue(
        name("properties"), exclusive=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name}
    )
    await channel.default_exchange.publish(
        Message(
            b"body",
            headers=HEADERS,
            content_type="text/plain",
            content_encoding="utf-8",
            delivery_mode=DeliveryMode.PERSISTENT,
            priority=9,
            correlation_id="correlation",
            reply_to="reply",
            expiration=3600,
            message_id="message",
            timestamp=1770000000,
            type="type",
            user_id="guest",
            app_id="app",
        ),
        queue.name,
    )
    message = await queue.get()
    headers = dict(message.headers)
    say(
        "properties",
        {
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "delivery_mode": message.delivery_mode,
            "priority": message.priority,
            "correlation_id": message.correlation_id,
            "reply_to": message.reply_to,
            "expiration": message.expiration,
            "message_id": message.message_id,
            "timestamp": int(message.timestamp.timestamp()),
            "type": message.type,
            "user_id": message.user_id,
            "app_id": message.app_id,
            "body": message.body.decode(),
        },
    )
    say("headers lost", lost(HEADERS, headers))
    await message.reject()
    letters = asyncio.Queue()
    await dead.consume(letters.put, no_ack=True)
    message = await letters.get()
    death = dict(message.headers["x-death"][0])
    death["when"] = type(death.pop("time")).__name__
    say("dead letter", death | {"expiration": message.expiration})
    say("headers lost by dead-lettering", [key for key in lost(HEADERS, dict(message.headers)) if key in HEADERS])

    queue = await channel.declare_queue(exclusive=True, arguments={"x-max-length": 2, "x-overflow": "reject-publish"})
    saw = []
    for n in range(4):
        try:
            await channel.default_exchange.publish(Message(b"x"), queue.name if n < 3 else name("nobody"))
            saw.append("ack")
        except aio_pika.exceptions.DeliveryError as error:
            returned = error.message.delivery if error.message else None
            saw.append([returned.reply_code, returned.reply_text, returned.exchange, returned.routing_key] if returned else "nack")
    say("confirms", saw)
    publishes = [channel.default_exchange.publish(Message(b"x"), dead.name) for _ in range(1000)]
    say("wait for confirms", len(await asyncio.gather(*publishes)) == 1000)

    async def nowhere(c):
        await (await c.get_exchange("nowhere", ensure=False)).publish(Message(b""), "")

    say("publish to nowhere", await closed_with(nowhere))

    channel = await connection.channel()
    queue = await channel.declare_queue(name("tasks"), exclusive=True)
    await channel.set_qos(prefetch_count=3)
    for n in range(6):
        await channel.default_exchange.publish(Message(str(n).encode()), queue.name)
    inbox = asyncio.Queue()
    tag = await queue.consume(inbox.put)
    came = [await inbox.get() for _ in range(3)]
    await queue.declare()
    while not inbox.empty():
        came.append(inbox.get_nowait())
    say("prefetch", [m.body.decode() for m in came])
    await came[1].ack(multiple=True)
    came += [await inbox.get() for _ in range(2)]
    await came[2].nack()
    came.append(await inbox.get())
    say("redelivery", [[m.body.decode(), m.redelivered, m.delivery_tag] for m in came[3:]])
    await came[3].reject()
    await came[5].ack(multiple=True)
    say("after reject", [(await inbox.get()).body.decode()])
    await queue.cancel(tag)

    queue = await channel.declare_queue(name("consumers"))
    await queue.consume(inbox.put, exclusive=True)

    async def consume(c):
        await (await c.get_queue(queue.name)).consume(inbox.put)

    say("exclusive consumer", await closed_with(consume))
    await queue.delete(if_unused=False, if_empty=False)

    stranger = await aio_pika.connect(URL)
    await (await stranger.channel()).declare_queue(name("exclusive"), exclusive=True)
    say("exclusive queue", await closed_with(lambda c: c.declare_queue(name("exclusive"), passive=True)))
    await stranger.close()
    say("gone with its connection", await closed_with(lambda c: c.declare_queue(name("exclusive"), passive=True)))

    queue = await channel.declare_queue(name("get"), exclusive=True)
    say("get nothing", await queue.get(fail=False) is None)

    async def count():
        return (await channel.declare_queue(queue.name, passive=True)).declaration_result.message_count

    plain = await connection.channel(publisher_confirms=False)
    tx = plain.transaction()
    await tx.select()
    await plain.default_exchange.publish(Message(b"one"), queue.name)
    await plain.default_exchange.publish(Message(b"two"), queue.name)
    saw = [await count()]
    await tx.commit()
    saw.append(await count())
    await plain.default_exchange.publish(Message(b"three"), queue.name)
    await tx.rollback()
    saw.append(await count())
    say("transactions", [*saw, await count()])
    say("purge", (await queue.purge()).message_count)

    from aio_pika.patterns import RPC

    async def upper(*, text):
        return text.upper()

    rpc = await RPC.create(await connection.channel())
    await rpc.register(name("rpc"), upper, auto_delete=True)
    say("rpc", await rpc.call(name("rpc"), {"text": "amq"}))
    await rpc.close()

    channel = await connection.channel()
    await channel.set_qos(prefetch_count=10)
    queue = await channel.declare_queue(name("stream"), durable=True, arguments={"x-queue-type": "stream"})
    for n in range(5):
        await channel.default_exchange.publish(Message(str(n).encode()), queue.name)
    saw = []
    tag = await queue.consume(inbox.put, arguments={"x-stream-offset": 2})
    for _ in range(3):
        message = await inbox.get()
        saw.append([message.body.decode(), message.headers["x-stream-offset"]])
        await message.ack()
    say("stream", saw)
    await queue.cancel(tag)
    await queue.delete(if_empty=False)

    queue = await channel.declare_queue(name("large"), exclusive=True)
    body = bytes(range(256)) * 40960
    for text in (body, b""):
        await channel.default_exchange.publish(Message(text), queue.name)
    say("large", [(await queue.get(no_ack=True)).body == text for text in (body, b"")])
    channels = await asyncio.gather(*[connection.channel() for _ in range(100)])
    say("channels", len(await asyncio.gather(*[c.declare_queue(queue.name, passive=True) for c in channels])))
    await asyncio.gather(*[c.close() for c in channels])

    # Everything comes again by itself.
    await connection.close()
    connection = await aio_pika.connect_robust(str(url.update_query(reconnect_interval="0.05")))
    channel = await connection.channel()
    kept = await channel.declare_queue(name("kept"), durable=True)
    await channel.default_exchange.publish(Message(b"kept", delivery_mode=DeliveryMode.PERSISTENT), kept.name)
    again = await channel.declare_exchange(name("again"), ExchangeType.FANOUT, auto_delete=True)
    mine = await channel.declare_queue(exclusive=True)
    await mine.bind(again)
    await mine.consume(inbox.put, no_ack=True)
    recovered = asyncio.Event()
    connection.reconnect_callbacks.add(lambda *_: recovered.set())
    # Not from the loop, which has to answer the broker's goodbye.
    if await asyncio.to_thread(ask, "stop"):
        await asyncio.to_thread(ask, "start")
        await recovered.wait()
        await again.publish(Message(b"after"), "")
        say("recovered by itself", (await inbox.get()).body.decode())
    message = await kept.get(no_ack=True)
    say("kept", [message.body.decode(), message.redelivered])
    await kept.delete()
    await connection.close()
    say("closed", connection.is_closed)


asyncio.run(asyncio.wait_for(main(), 180))
