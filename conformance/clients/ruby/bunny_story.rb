# bunny, with its automatic recovery. ruby bunny_story.rb <url> <prefix> [<authority>]
# Prints one JSON line per step; the test compares it with what a client must see.
require 'bunny'
require 'json'
require 'timeout'

URL, PREFIX, AUTHORITY = ARGV
$stdout.sync = true
Thread.report_on_exception = false

def name(suffix) = PREFIX + suffix
def say(step, saw = true) = puts({ step: step, saw: saw }.to_json)

def ask(what)
  puts({ ask: what }.to_json)
  $stdin.gets&.strip == 'done'
end

def take(queue) = Timeout.timeout(60) { queue.pop }

def connect(settings = {})
  tls = AUTHORITY ? { tls_ca_certificates: [AUTHORITY], verify_peer: true } : {}
  defaults = { logger: Logger.new(IO::NULL), network_recovery_interval: 0.05, continuation_timeout: 60_000,
               connection_timeout: 60, read_timeout: 60, recover_from_connection_close: true }
  Bunny.new(URL, defaults.merge(tls).merge(settings)).tap(&:start)
end

def refused(settings)
  uri = AMQ::Settings.configure(URL)
  connection = Bunny.new({ host: uri[:host], port: uri[:port], user: 'guest', pass: 'guest', vhost: '/', logger: Logger.new(IO::NULL),
                           automatically_recover: false, tls: !AUTHORITY.nil?, tls_ca_certificates: [AUTHORITY].compact }.merge(settings))
  connection.start
  nil
rescue Bunny::Exception => e
  [e.class.name, e.message]
end

CONNECTION = connect

# The code and text with which the broker closes the channel during the block.
def closed_with
  yield CONNECTION.create_channel
  nil
rescue Bunny::ChannelLevelException => e
  [e.channel_close.reply_code, e.channel_close.reply_text]
end

# The same for a settlement, which nobody waits for.
def ended_by
  channel = CONNECTION.create_channel
  ended = Queue.new
  channel.on_error { |_, close| ended << [close.reply_code, close.reply_text] }
  yield channel
  take(ended)
end

def drain(channel, queue)
  bodies = []
  while (body = channel.basic_get(queue, manual_ack: false)[2])
    bodies << body
  end
  bodies
end

def count(queue)
  channel = CONNECTION.create_channel
  channel.queue(queue, passive: true).message_count.tap { channel.close }
end

# Texts come as bytes.
def utf8(value) = value.is_a?(String) ? value.dup.force_encoding('UTF-8') : value
def lost(sent, came) = sent.keys.reject { |k| came.key?(k) && came[k].class == sent[k].class && utf8(came[k]) == sent[k] }

say('wrong password', refused(pass: 'wrong'))
say('wrong vhost', refused(vhost: 'nowhere'))

channel = CONNECTION.create_channel
saw = {}
[
  ['direct', 'a', {}, %w[a b]],
  ['fanout', '', {}, %w[a b]],
  ['topic', '*.hare.#', {}, %w[brown.hare brown.hare.runs.far hare.runs]],
  ['headers', '', { 'x-match' => 'all', 'colour' => 'brown', 'legs' => 4 }, %w[with without]]
].each do |kind, key, arguments, keys|
  exchange = channel.send(kind, name(kind), auto_delete: true)
  queue = channel.queue('', exclusive: true)
  queue.bind(exchange, routing_key: key, arguments: arguments)
  keys.each do |k|
    exchange.publish(k, routing_key: k, headers: k == 'with' ? { 'colour' => 'brown', 'legs' => 4 } : { 'colour' => 'brown' })
  end
  saw[kind] = drain(channel, queue.name)
end
say('exchanges', saw)

inner = channel.fanout(name('inner'), internal: true, auto_delete: true)
outer = channel.direct(name('outer'), auto_delete: true, arguments: { 'alternate-exchange' => name('inner') })
inner.bind(outer, routing_key: 'through')
queue = channel.queue('', exclusive: true).bind(inner)
%w[through elsewhere].each { |key| outer.publish(key, routing_key: key) }
say('exchange to exchange', drain(channel, queue.name))

arguments = { 'x-message-ttl' => 3_600_000, 'x-expires' => 7_200_000, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => 'elsewhere',
              'x-max-length' => 3, 'x-max-length-bytes' => 2**33, 'x-overflow' => 'drop-head', 'x-max-priority' => 5,
              'x-single-active-consumer' => true, 'x-queue-mode' => 'lazy' }
2.times { channel.queue_declare(name('arguments'), durable: true, arguments: arguments) }
say('declared otherwise', closed_with { |c| c.queue_declare(name('arguments'), durable: true, arguments: arguments.merge('x-max-length' => 5)) })
say('declared not durable', closed_with { |c| c.queue_declare(name('arguments'), arguments: arguments) })
say('bad argument', closed_with { |c| c.queue_declare(name('bad'), arguments: { 'x-message-ttl' => 'soon' }) })
say('negative argument', closed_with { |c| c.queue_declare(name('bad'), arguments: { 'x-message-ttl' => -1 }) })
5.times { |n| channel.default_exchange.publish(n.to_s, routing_key: name('arguments'), priority: n) }
say('length limit', drain(channel, name('arguments')))
channel.queue_delete(name('arguments'))

HEADERS = { 'text' => 'Häsin', 'yes' => true, 'no' => false, 'small' => 7, 'negative' => -7, 'big' => 2**62, 'very negative' => -(2**62),
            'double' => -0.5, 'time' => Time.at(1_770_000_000), 'nothing' => nil, 'list' => [1, 'two', [3], { 'four' => 4 }, -5, 1.5],
            'table' => { 'inner' => { 'deep' => [true, 'x'] } }, 'empty' => {} }.freeze
dead = channel.queue('', exclusive: true)
queue = channel.queue(name('properties'), exclusive: true, arguments: { 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => dead.name })
queue.publish('body', content_type: 'text/plain', content_encoding: 'utf-8', headers: HEADERS, persistent: true, priority: 9,
                      correlation_id: 'correlation', reply_to: 'reply', expiration: '3600000', message_id: 'message', timestamp: 1_770_000_000,
                      type: 'type', user_id: 'guest', app_id: 'app', cluster_id: 'cluster')
delivery, properties, body = queue.pop(manual_ack: true)
saw = properties.to_h.reject { |k, _| k == :headers }
say('properties', saw.merge(timestamp: saw[:timestamp].to_i, body: body))
say('headers lost', lost(HEADERS, properties.headers))
letters = Queue.new
dead.subscribe { |_, p, _| letters << p }
channel.reject(delivery.delivery_tag)
properties = take(letters)
death = properties.headers['x-death'][0]
say('dead letter', death.reject { |k, _| k == 'time' }.merge(when: death['time'].is_a?(Time) ? 'datetime' : nil, expiration: properties.expiration))
say('headers lost by dead-lettering', lost(HEADERS, properties.headers))

confirms = CONNECTION.create_channel
confirms.confirm_select
returned = Queue.new
# Of what goes through the default exchange bunny hands no returns on.
direct = confirms.direct('amq.direct', durable: true)
direct.on_return { |info, _, _| returned << [info.reply_code, info.reply_text, info.exchange, info.routing_key] }
queue = confirms.queue('', exclusive: true, arguments: { 'x-max-length' => 2, 'x-overflow' => 'reject-publish' })
saw = (0..3).map do |n|
  if n < 3
    confirms.default_exchange.publish('x', routing_key: queue.name)
  else
    direct.publish('x', routing_key: name('nobody'), mandatory: true)
  end
  settled = confirms.wait_for_confirms ? 'ack' : 'nack'
  n == 3 ? take(returned) : settled
end
say('confirms', saw)
confirms = CONNECTION.create_channel
confirms.confirm_select
1000.times { confirms.default_exchange.publish('x', routing_key: name('nobody')) }
say('wait for confirms', confirms.wait_for_confirms)
say('publish to nowhere', closed_with { |c| c.basic_publish('', 'nowhere', ''); c.queue_declare('', exclusive: true) })

channel = CONNECTION.create_channel
queue = channel.queue(name('tasks'), exclusive: true)
channel.prefetch(3)
6.times { |n| queue.publish(n.to_s) }
inbox = Queue.new
consumer = queue.subscribe(manual_ack: true) { |info, _, text| inbox << [text, info.redelivered?, info.delivery_tag.to_i] }
came = Array.new(3) { take(inbox) }
queue.message_count
came << inbox.pop until inbox.empty?
say('prefetch', came.map(&:first))
channel.ack(came[1][2], true)
came += Array.new(2) { take(inbox) }
channel.nack(came[2][2], false, true)
came << take(inbox)
say('redelivery', came[3..])
channel.reject(came[3][2], false)
channel.ack(came[5][2], true)
say('after reject', [take(inbox)[0]])
consumer.cancel
channel.recover
info, _, body = queue.pop
say('recovered', [body, info.redelivered?, queue.message_count])
say('unknown tag', ended_by { |c| c.basic_ack(99, false) })

queue = channel.queue(name('consumers'))
cancelled = Queue.new
consumer = Bunny::Consumer.new(channel, queue, 'mine', true, true)
consumer.on_cancellation { |cancel| cancelled << cancel.consumer_tag }
channel.basic_consume_with(consumer)
say('exclusive consumer', closed_with { |c| c.basic_consume(queue.name) { nil } })
CONNECTION.create_channel.queue_delete(queue.name)
say('cancelled by the broker', [take(cancelled)])

stranger = connect
stranger.create_channel.queue(name('exclusive'), exclusive: true)
say('exclusive queue', closed_with { |c| c.queue_declare(name('exclusive'), passive: true) })
stranger.close
say('gone with its connection', closed_with { |c| c.queue_declare(name('exclusive'), passive: true) })

queue = channel.queue(name('get'), exclusive: true)
say('get nothing', queue.pop[0].nil?)
tx = CONNECTION.create_channel
tx.tx_select
%w[one two].each { |text| tx.default_exchange.publish(text, routing_key: queue.name) }
saw = [count(queue.name)]
tx.tx_commit
saw << count(queue.name)
tx.default_exchange.publish('three', routing_key: queue.name)
tx.tx_rollback
saw << count(queue.name)
tx.ack(tx.basic_get(queue.name, manual_ack: true)[0].delivery_tag)
tx.tx_rollback
tx.close
say('transactions', saw << count(queue.name))
say('purge', channel.queue_purge(queue.name).message_count)
say('not in use', closed_with { |c| c.basic_consume(queue.name) { nil }; c.queue_delete(queue.name, if_unused: true) })

server = CONNECTION.create_channel
server.queue(name('rpc'), exclusive: true).subscribe do |_, p, text|
  server.default_exchange.publish(text.upcase, routing_key: p.reply_to, correlation_id: p.correlation_id)
end
client = CONNECTION.create_channel
replies = Queue.new
saw = [client.queue('', exclusive: true).name, 'amq.rabbitmq.reply-to'].each_with_index.map do |reply_to, n|
  client.basic_consume(reply_to, '', true) { |_, p, text| replies << [p.correlation_id, text] }
  client.default_exchange.publish('amq', routing_key: name('rpc'), reply_to: reply_to, correlation_id: n.to_s)
  take(replies)
end
say('rpc', saw)

queue = channel.queue(name('quorum'), durable: true, arguments: { 'x-queue-type' => 'quorum', 'x-delivery-limit' => 2 })
queue.publish('x', persistent: true)
times = Queue.new
queue.subscribe(manual_ack: true) do |info, p, _|
  times << (p.headers || {})['x-delivery-count']
  channel.nack(info.delivery_tag, false, true)
end
say('quorum', Array.new(3) { take(times) })
queue.delete
channel = CONNECTION.create_channel
channel.prefetch(10)
queue = channel.queue(name('stream'), durable: true, arguments: { 'x-queue-type' => 'stream' })
5.times { |n| queue.publish(n.to_s) }
records = Queue.new
queue.subscribe(manual_ack: true, arguments: { 'x-stream-offset' => 2 }) do |info, p, text|
  records << [text, p.headers['x-stream-offset']]
  channel.ack(info.delivery_tag)
end
say('stream', Array.new(3) { take(records) })
queue.delete

channel = CONNECTION.create_channel
queue = channel.queue(name('large'), exclusive: true)
body = (0..255).to_a.pack('C*') * 40_960
[body, ''].each { |text| queue.publish(text) }
say('large', [body, ''].map { |text| queue.pop[2] == text })
channels = Array.new(100) { CONNECTION.create_channel }
say('channels', channels.count { |c| c.queue_declare(queue.name, passive: true) })
channels.each(&:close)

channel.exchange_declare(name('internal'), 'direct', internal: true)
say('internal exchange', closed_with { |c| c.basic_publish('', name('internal'), ''); c.queue_declare('', exclusive: true) })
channel.exchange_delete(name('internal'))

if ask('alarm')
  other = connect
  seen = Queue.new
  other.on_blocked { |blocked| seen << blocked.reason }
  other.on_unblocked { seen << 'unblocked' }
  other.create_channel.default_exchange.publish('', routing_key: name('nobody'))
  reason = take(seen)
  ask('all clear')
  say('blocked', [reason, take(seen)])
  other.close
end

# Automatic recovery: the connection, the channel, what it declared and who consumed come again by themselves.
lasting = connect
channel = lasting.create_channel
kept = channel.queue(name('kept'), durable: true)
kept.publish('kept', persistent: true)
again = channel.fanout(name('again'), auto_delete: true)
after = Queue.new
channel.queue('', exclusive: true).bind(again).subscribe { |_, _, text| after << text }
recovered = Queue.new
lasting.after_recovery_completed { recovered << true }
CONNECTION.close
if ask('stop')
  ask('start')
  take(recovered)
  again.publish('after')
  say('recovered by itself', take(after))
end
info, _, body = kept.pop
say('kept', [body, info.redelivered?])
kept.delete
lasting.close
say('closed', lasting.closed?)
