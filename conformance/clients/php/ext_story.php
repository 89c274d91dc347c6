<?php
// php-amqp, the extension on the C client: a short story.
require __DIR__ . '/story.php';

function connect(string $password = 'guest', string $vhost = '/'): AMQPConnection
{
    $connection = new AMQPConnection(['host' => HOST, 'port' => PORT, 'login' => 'guest', 'password' => $password, 'vhost' => $vhost, 'read_timeout' => 60, 'rpc_timeout' => 60]);
    $connection->connect();
    return $connection;
}

function refusal(callable $work): ?array
{
    try {
        $work();
        return null;
    } catch (AMQPException $error) {
        return [$error->getCode(), $error->getMessage()];
    }
}

function declared(AMQPChannel $channel, string $name, array $arguments = []): AMQPQueue
{
    $queue = new AMQPQueue($channel);
    if ($name !== '') {
        $queue->setName($name);
    }
    $queue->setFlags(AMQP_EXCLUSIVE);
    $queue->setArguments($arguments);
    $queue->declareQueue();
    return $queue;
}

say('wrong password', refusal(fn () => connect('wrong')));
say('wrong vhost', refusal(fn () => connect('guest', 'nowhere')));
$connection = connect();
$channel = new AMQPChannel($connection);
$default = new AMQPExchange($channel);

$saw = [];
foreach (
    [
        ['direct', 'a', [], ['a', 'b']],
        ['fanout', '', [], ['a', 'b']],
        ['topic', '*.hare.#', [], ['brown.hare', 'brown.hare.runs.far', 'hare.runs']],
        ['headers', '', ['x-match' => 'all', 'colour' => 'brown', 'legs' => 4], ['with', 'without']],
    ] as [$kind, $key, $arguments, $keys]
) {
    $exchange = new AMQPExchange($channel);
    $exchange->setName(name($kind));
    $exchange->setType($kind);
    $exchange->setFlags(AMQP_AUTODELETE);
    $exchange->declareExchange();
    $queue = declared($channel, '');
    $queue->bind(name($kind), $key, $arguments);
    foreach ($keys as $k) {
        $exchange->publish($k, $k, AMQP_NOPARAM, ['headers' => $k === 'with' ? ['colour' => 'brown', 'legs' => 4] : ['colour' => 'brown']]);
    }
    $saw[$kind] = [];
    while ($message = $queue->get(AMQP_AUTOACK)) {
        $saw[$kind][] = $message->getBody();
    }
}
say('exchanges', $saw);

$queue = declared($channel, name('arguments'), ['x-max-length' => 3, 'x-message-ttl' => 3600000]);
say('declared otherwise', refusal(fn () => declared(new AMQPChannel($connection), name('arguments'), ['x-max-length' => 5, 'x-message-ttl' => 3600000])));

$headers = [
    'text' => 'Häsin', 'yes' => true, 'no' => false, 'small' => 7, 'negative' => -7, 'big' => 2 ** 62, 'very negative' => -(2 ** 62),
    'double' => -0.5, 'nothing' => null, 'list' => [1, 'two', [3], -5], 'table' => ['inner' => ['deep' => [true, 'x']]],
    'time' => new AMQPTimestamp(1770000000), 'decimal' => new AMQPDecimal(2, 314),
];
$queue = declared($channel, name('properties'));
$default->publish('body', name('properties'), AMQP_NOPARAM, [
    'content_type' => 'text/plain', 'content_encoding' => 'utf-8', 'headers' => $headers, 'delivery_mode' => 2, 'priority' => 9,
    'correlation_id' => 'correlation', 'reply_to' => 'reply', 'expiration' => '3600000', 'message_id' => 'message',
    'timestamp' => 1770000000, 'type' => 'type', 'user_id' => 'guest', 'app_id' => 'app',
]);
$message = $queue->get(AMQP_AUTOACK);
say('properties', [
    'content_type' => $message->getContentType(), 'content_encoding' => $message->getContentEncoding(),
    'delivery_mode' => $message->getDeliveryMode(), 'priority' => $message->getPriority(), 'correlation_id' => $message->getCorrelationId(),
    'reply_to' => $message->getReplyTo(), 'expiration' => $message->getExpiration(), 'message_id' => $message->getMessageId(),
    'timestamp' => (int) (string) $message->getTimestamp(), 'type' => $message->getType(), 'user_id' => $message->getUserId(),
    'app_id' => $message->getAppId(), 'body' => $message->getBody(),
]);
say('headers lost', lost($headers, $message->getHeaders()));

$confirms = new AMQPChannel($connection);
$confirms->confirmSelect();
$settled = [];
$confirms->setConfirmCallback(
    function () use (&$settled) {
        $settled[] = 'ack';
        return false;
    },
    function () use (&$settled) {
        $settled[] = 'nack';
        return false;
    }
);
$confirms->setReturnCallback(function ($code, $text, $exchange, $key) use (&$settled) {
    $settled[] = [$code, $text, $exchange, $key];
});
$queue = declared($confirms, '', ['x-max-length' => 2, 'x-overflow' => 'reject-publish']);
$exchange = new AMQPExchange($confirms);
for ($n = 0; $n < 4; $n++) {
    $exchange->publish('x', $n < 3 ? $queue->getName() : name('nobody'), AMQP_MANDATORY);
    $confirms->waitForConfirm(60);
}
say('confirms', array_slice($settled, 0, 4));

$tasks = new AMQPChannel($connection);
$tasks->setPrefetchCount(3);
$queue = declared($tasks, name('tasks'));
$exchange = new AMQPExchange($tasks);
for ($n = 0; $n < 6; $n++) {
    $exchange->publish("$n", name('tasks'));
}
$came = [];
$until = function (int $count) use (&$came, $queue) {
    $queue->consume(function ($message) use (&$came, $count) {
        $came[] = [$message->getBody(), $message->isRedelivery(), $message->getDeliveryTag()];
        return count($came) < $count;
    }, $came === [] ? AMQP_NOPARAM : AMQP_JUST_CONSUME);
};
$until(3);
say('prefetch', array_column($came, 0));
$queue->ack($came[1][2], AMQP_MULTIPLE);
$until(5);
$queue->nack($came[2][2], AMQP_REQUEUE);
$until(6);
say('redelivery', array_slice($came, 3));
$queue->reject($came[3][2]);
$queue->ack($came[5][2], AMQP_MULTIPLE);
$until(7);
say('after reject', [$came[6][0]]);
$queue->cancel();

$queue = declared($channel, name('get'));
say('get nothing', $queue->get() === null || $queue->get() === false);
$tx = new AMQPChannel($connection);
$tx->startTransaction();
$exchange = new AMQPExchange($tx);
$exchange->publish('one', name('get'));
$exchange->publish('two', name('get'));
$saw = [$queue->declareQueue()];
$tx->commitTransaction();
$saw[] = $queue->declareQueue();
$exchange->publish('three', name('get'));
$tx->rollbackTransaction();
say('transactions', [...$saw, $queue->declareQueue()]);
$queue->purge();

$body = random_bytes(10 << 20);
$default->publish($body, name('get'));
$default->publish('', name('get'));
say('large', [$queue->get(AMQP_AUTOACK)->getBody() === $body, $queue->get(AMQP_AUTOACK)->getBody() === '']);
$connection->disconnect();
say('closed', !$connection->isConnected());
