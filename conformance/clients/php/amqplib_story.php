<?php
// php-amqplib, in PHP alone.
require 'PhpAmqpLib/autoload.php';
require __DIR__ . '/story.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPProtocolException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

function connect(string $password = 'guest', string $vhost = '/'): AMQPStreamConnection
{
    return new AMQPStreamConnection(HOST, PORT, 'guest', $password, $vhost, false, 'AMQPLAIN', null, 'en_US', 60.0, 60.0, null, false, 0);
}

/** The code and text with which the broker ends what is done. */
function refusal(callable $work): ?array
{
    try {
        $work();
        return null;
    } catch (AMQPProtocolException | AMQPConnectionClosedException $error) {
        return [$error->getCode(), $error->getMessage()];
    }
}

function closedWith(callable $work): ?array
{
    global $connection;
    $channel = $connection->channel();
    return refusal(fn () => $work($channel));
}

function drain($channel, string $queue): array
{
    $bodies = [];
    while ($message = $channel->basic_get($queue, true)) {
        $bodies[] = $message->body;
    }
    return $bodies;
}

function countOf(string $queue): int
{
    global $connection;
    $channel = $connection->channel();
    $count = $channel->queue_declare($queue, true)[1];
    $channel->close();
    return $count;
}

function declared($channel, string $queue, array $arguments = []): string
{
    return $channel->queue_declare($queue, false, false, true, false, false, new AMQPTable($arguments))[0];
}

say('wrong password', refusal(fn () => connect('wrong')));
say('wrong vhost', refusal(fn () => connect('guest', 'nowhere')));

$connection = connect();
$channel = $connection->channel();

$saw = [];
foreach (
    [
        ['direct', 'a', [], ['a', 'b']],
        ['fanout', '', [], ['a', 'b']],
        ['topic', '*.hare.#', [], ['brown.hare', 'brown.hare.runs.far', 'hare.runs']],
        ['headers', '', ['x-match' => 'all', 'colour' => 'brown', 'legs' => 4], ['with', 'without']],
    ] as [$kind, $key, $arguments, $keys]
) {
    $channel->exchange_declare(name($kind), $kind, false, false, true);
    $queue = declared($channel, '');
    $channel->queue_bind($queue, name($kind), $key, false, new AMQPTable($arguments));
    foreach ($keys as $k) {
        $headers = new AMQPTable($k === 'with' ? ['colour' => 'brown', 'legs' => 4] : ['colour' => 'brown']);
        $channel->basic_publish(new AMQPMessage($k, ['application_headers' => $headers]), name($kind), $k);
    }
    $saw[$kind] = drain($channel, $queue);
}
say('exchanges', $saw);

$channel->exchange_declare(name('inner'), 'fanout', false, false, true, true);
$channel->exchange_declare(name('outer'), 'direct', false, false, true, false, false, new AMQPTable(['alternate-exchange' => name('inner')]));
$channel->exchange_bind(name('inner'), name('outer'), 'through');
$queue = declared($channel, '');
$channel->queue_bind($queue, name('inner'));
foreach (['through', 'elsewhere'] as $key) {
    $channel->basic_publish(new AMQPMessage($key), name('outer'), $key);
}
say('exchange to exchange', drain($channel, $queue));

$arguments = [
    'x-message-ttl' => 3600000, 'x-expires' => 7200000, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => 'elsewhere',
    'x-max-length' => 3, 'x-max-length-bytes' => 2 ** 33, 'x-overflow' => 'drop-head', 'x-max-priority' => 5,
    'x-single-active-consumer' => true, 'x-queue-mode' => 'lazy',
];
$declare = fn ($channel, array $changed = [], bool $durable = true)
    => $channel->queue_declare(name('arguments'), false, $durable, false, false, false, new AMQPTable([...$arguments, ...$changed]));
$declare($channel);
$declare($channel);
say('declared otherwise', closedWith(fn ($c) => $declare($c, ['x-max-length' => 5])));
say('declared not durable', closedWith(fn ($c) => $declare($c, [], false)));
say('bad argument', closedWith(fn ($c) => declared($c, name('bad'), ['x-message-ttl' => 'soon'])));
say('negative argument', closedWith(fn ($c) => declared($c, name('bad'), ['x-message-ttl' => -1])));
for ($n = 0; $n < 5; $n++) {
    $channel->basic_publish(new AMQPMessage("$n", ['priority' => $n]), '', name('arguments'));
}
say('length limit', drain($channel, name('arguments')));
$channel->queue_delete(name('arguments'));

$headers = [
    'text' => 'Häsin', 'yes' => true, 'no' => false, 'small' => 7, 'negative' => -7, 'big' => 2 ** 62, 'very negative' => -(2 ** 62),
    'nothing' => null, 'list' => [1, 'two', [3], ['four' => 4], null, -5],
    'table' => ['inner' => ['deep' => [true, 'x']]], 'time' => new DateTime('@1770000000'),
    'decimal' => new PhpAmqpLib\Wire\AMQPDecimal(314, 2),
];
$dead = declared($channel, '');
$queue = declared($channel, name('properties'), ['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead]);
$channel->basic_publish(new AMQPMessage('body', [
    'content_type' => 'text/plain', 'content_encoding' => 'utf-8', 'application_headers' => new AMQPTable($headers), 'delivery_mode' => 2,
    'priority' => 9, 'correlation_id' => 'correlation', 'reply_to' => 'reply', 'expiration' => '3600000', 'message_id' => 'message',
    'timestamp' => 1770000000, 'type' => 'type', 'user_id' => 'guest', 'app_id' => 'app', 'cluster_id' => 'cluster',
]), '', $queue);
$message = $channel->basic_get($queue);
$properties = $message->get_properties();
$came = $properties['application_headers']->getNativeData();
unset($properties['application_headers']);
say('properties', [...$properties, 'body' => $message->body]);
say('headers lost', lost($headers, $came));
$letters = [];
$channel->basic_consume($dead, '', false, true, false, false, function ($message) use (&$letters) {
    $letters[] = $message;
});
$channel->basic_reject($message->getDeliveryTag(), false);
$channel->wait(null, false, 60);
$came = $letters[0]->get('application_headers')->getNativeData();
$death = $came['x-death'][0];
$death['when'] = $death['time'] instanceof DateTime ? 'datetime' : null;
unset($death['time']);
say('dead letter', [...$death, 'expiration' => $letters[0]->has('expiration') ? $letters[0]->get('expiration') : null]);
say('headers lost by dead-lettering', lost($headers, $came));

$confirms = $connection->channel();
$confirms->confirm_select();
$settled = [];
$confirms->set_ack_handler(function () use (&$settled) {
    $settled[] = 'ack';
});
$confirms->set_nack_handler(function () use (&$settled) {
    $settled[] = 'nack';
});
$confirms->set_return_listener(function (...$returned) use (&$settled) {
    $settled[] = array_slice($returned, 0, 4);
});
$queue = declared($confirms, '', ['x-max-length' => 2, 'x-overflow' => 'reject-publish']);
for ($n = 0; $n < 4; $n++) {
    $confirms->basic_publish(new AMQPMessage('x'), '', $n < 3 ? $queue : name('nobody'), true);
    $confirms->wait_for_pending_acks_returns(60);
}
say('confirms', array_slice($settled, 0, 4));
$settled = [];
for ($n = 0; $n < 1000; $n++) {
    $confirms->basic_publish(new AMQPMessage('x'), '', name('nobody'));
}
$confirms->wait_for_pending_acks(60);
say('wait for confirms', count($settled) === 1000);
say('publish to nowhere', closedWith(fn ($c) => [$c->basic_publish(new AMQPMessage(''), 'nowhere'), declared($c, '')]));

$channel = $connection->channel();
$queue = declared($channel, name('tasks'));
$channel->basic_qos(0, 3, false);
for ($n = 0; $n < 6; $n++) {
    $channel->basic_publish(new AMQPMessage("$n"), '', $queue);
}
$came = [];
$tag = $channel->basic_consume($queue, '', false, false, false, false, function ($message) use (&$came) {
    $came[] = [$message->body, $message->isRedelivered(), $message->getDeliveryTag()];
});
$until = function (int $count) use (&$came, &$channel) {
    while (count($came) < $count) {
        $channel->wait(null, false, 60);
    }
};
$until(3);
$channel->queue_declare($queue, true);
say('prefetch', array_column($came, 0));
$channel->basic_ack($came[1][2], true);
$until(5);
$channel->basic_nack($came[2][2], false, true);
$until(6);
say('redelivery', array_slice($came, 3));
$channel->basic_reject($came[3][2], false);
$channel->basic_ack($came[5][2], true);
$until(7);
say('after reject', [$came[6][0]]);
$channel->basic_cancel($tag);
$channel->basic_recover(true);
$message = $channel->basic_get($queue, true);
say('recovered', [$message->body, $message->isRedelivered(), $message->getMessageCount()]);
say('unknown tag', closedWith(fn ($c) => [$c->basic_ack(99), $c->queue_declare($queue, true)]));

$channel->queue_declare(name('consumers'), false, false, false, false);
$channel->basic_consume(name('consumers'), 'mine', false, false, true, false, fn () => null);
say('exclusive consumer', closedWith(fn ($c) => $c->basic_consume(name('consumers'))));
$connection->channel()->queue_delete(name('consumers'));
try {
    $channel->wait(null, false, 60);
} catch (PhpAmqpLib\Exception\AMQPBasicCancelException $cancelled) {
    say('cancelled by the broker', [$cancelled->consumerTag]);
}

$channel = $connection->channel();
$stranger = connect();
declared($stranger->channel(), name('exclusive'));
say('exclusive queue', closedWith(fn ($c) => $c->queue_declare(name('exclusive'), true)));
$stranger->close();
say('gone with its connection', closedWith(fn ($c) => $c->queue_declare(name('exclusive'), true)));

$queue = declared($channel, name('get'));
say('get nothing', $channel->basic_get($queue) === null);
$tx = $connection->channel();
$tx->tx_select();
$tx->basic_publish(new AMQPMessage('one'), '', $queue);
$tx->basic_publish(new AMQPMessage('two'), '', $queue);
$saw = [countOf($queue)];
$tx->tx_commit();
$saw[] = countOf($queue);
$tx->basic_publish(new AMQPMessage('three'), '', $queue);
$tx->tx_rollback();
$saw[] = countOf($queue);
$tx->basic_ack($tx->basic_get($queue)->getDeliveryTag());
$tx->tx_rollback();
$tx->close();
say('transactions', [...$saw, countOf($queue)]);
say('purge', $channel->queue_purge($queue));
say('not in use', closedWith(fn ($c) => [$c->basic_consume($queue), $c->queue_delete($queue, true)]));

$server = $connection->channel();
declared($server, name('rpc'));
$server->basic_consume(name('rpc'), '', false, true, false, false, function ($message) use ($server) {
    $reply = new AMQPMessage(strtoupper($message->body), ['correlation_id' => $message->get('correlation_id')]);
    $server->basic_publish($reply, '', $message->get('reply_to'));
});
$client = $connection->channel();
$replies = [];
foreach ([declared($client, ''), 'amq.rabbitmq.reply-to'] as $n => $replyTo) {
    $client->basic_consume($replyTo, '', false, true, false, false, function ($message) use (&$replies) {
        $replies[] = [$message->get('correlation_id'), $message->body];
    });
    $client->basic_publish(new AMQPMessage('amq', ['reply_to' => $replyTo, 'correlation_id' => "$n"]), '', name('rpc'));
    $server->wait(null, false, 60);
    $client->wait(null, false, 60);
}
say('rpc', $replies);

$channel->queue_declare(name('quorum'), false, true, false, false, false, new AMQPTable(['x-queue-type' => 'quorum', 'x-delivery-limit' => 2]));
$channel->basic_publish(new AMQPMessage('x', ['delivery_mode' => 2]), '', name('quorum'));
$times = [];
$channel->basic_consume(name('quorum'), '', false, false, false, false, function ($message) use (&$times) {
    $times[] = $message->has('application_headers') ? $message->get('application_headers')->getNativeData()['x-delivery-count'] ?? null : null;
    $message->nack(true);
});
while (count($times) < 3) {
    $channel->wait(null, false, 60);
}
say('quorum', $times);
$channel->queue_delete(name('quorum'));
$channel = $connection->channel();
$channel->basic_qos(0, 10, false);
$channel->queue_declare(name('stream'), false, true, false, false, false, new AMQPTable(['x-queue-type' => 'stream']));
for ($n = 0; $n < 5; $n++) {
    $channel->basic_publish(new AMQPMessage("$n"), '', name('stream'));
}
$records = [];
$channel->basic_consume(name('stream'), '', false, false, false, false, function ($message) use (&$records) {
    $records[] = [$message->body, $message->get('application_headers')->getNativeData()['x-stream-offset']];
    $message->ack();
}, null, new AMQPTable(['x-stream-offset' => 2]));
while (count($records) < 3) {
    $channel->wait(null, false, 60);
}
say('stream', $records);
$channel->queue_delete(name('stream'));

$channel = $connection->channel();
$queue = declared($channel, name('large'));
$body = random_bytes(10 << 20);
$channel->basic_publish(new AMQPMessage($body), '', $queue);
$channel->basic_publish(new AMQPMessage(''), '', $queue);
say('large', [$channel->basic_get($queue, true)->body === $body, $channel->basic_get($queue, true)->body === '']);
$channels = [];
for ($n = 0; $n < 100; $n++) {
    $channels[] = $connection->channel();
}
say('channels', count(array_filter($channels, fn ($c) => $c->queue_declare($queue, true)[0] === $queue)));
foreach ($channels as $one) {
    $one->close();
}

$channel->exchange_declare(name('internal'), 'direct', false, false, false, true);
say('internal exchange', closedWith(fn ($c) => [$c->basic_publish(new AMQPMessage(''), name('internal')), declared($c, '')]));
$channel->exchange_delete(name('internal'));

if (ask('alarm')) {
    $other = connect();
    $seen = [];
    $other->set_connection_block_handler(function (string $reason) use (&$seen) {
        $seen[] = $reason;
    });
    $other->set_connection_unblock_handler(function () use (&$seen) {
        $seen[] = 'unblocked';
    });
    $other->channel()->basic_publish(new AMQPMessage(''), '', name('nobody'));
    while (count($seen) < 1) {
        $other->wait(null, false, 60);
    }
    ask('all clear');
    while (count($seen) < 2) {
        $other->wait(null, false, 60);
    }
    say('blocked', $seen);
    $other->close();
}

$channel->queue_declare(name('kept'), false, true, false, false);
$channel->basic_publish(new AMQPMessage('kept', ['delivery_mode' => 2]), '', name('kept'));
$channel->queue_declare(name('kept'), true);
if (ask('stop')) {
    say('stopped', refusal(fn () => $connection->wait(null, false, 60)));
    ask('start');
    $connection->reconnect();
    $channel = $connection->channel();
}
$message = $channel->basic_get(name('kept'), true);
say('kept', [$message->body, $message->isRedelivered()]);
$channel->queue_delete(name('kept'));
$connection->close();
say('closed', !$connection->isConnected());
