// The same story through client libraries of other languages: what an application does in a life, and what it must see.
// A client that is not installed is skipped, with the Debian package that has it.
import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { useTarget } from '../support/target.ts';
import { STORY_LIMIT_MS, type Story, type StoryOptions, tell, works } from './story.ts';

const target = useTarget();

/** What every client sees that can do the step. `~` stands for the prefix of names. */
const STORY: Story = {
  'wrong password': [
    403,
    'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.',
  ],
  'wrong vhost': [530, 'NOT_ALLOWED - vhost nowhere not found'],
  exchanges: {
    direct: ['a'],
    fanout: ['a', 'b'],
    topic: ['brown.hare', 'brown.hare.runs.far'],
    headers: ['with'],
  },
  'exchange to exchange': ['through', 'elsewhere'],
  'declared otherwise': [
    406,
    "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '~arguments' in vhost '/': received '5' but current is '3'",
  ],
  'declared not durable': [
    406,
    "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '~arguments' in vhost '/': received 'false' but current is 'true'",
  ],
  'bad argument': [
    406,
    "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue '~bad' in vhost '/': \"expected integer, got longstr\"",
  ],
  'negative argument': [
    406,
    "PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue '~bad' in vhost '/': {value_negative,-1}",
  ],
  'length limit': ['2', '1', '0'],
  properties: {
    content_type: 'text/plain',
    content_encoding: 'utf-8',
    delivery_mode: 2,
    priority: 9,
    correlation_id: 'correlation',
    reply_to: 'reply',
    expiration: '3600000',
    message_id: 'message',
    timestamp: 1_770_000_000,
    type: 'type',
    user_id: 'guest',
    app_id: 'app',
    cluster_id: 'cluster',
    body: 'body',
  },
  'headers lost': [],
  'dead letter': {
    count: 1,
    reason: 'rejected',
    queue: '~properties',
    exchange: '',
    'routing-keys': ['~properties'],
    'original-expiration': '3600000',
    when: 'datetime',
    expiration: null,
  },
  'headers lost by dead-lettering': [],
  confirms: ['ack', 'ack', 'nack', [312, 'NO_ROUTE', '', '~nobody']],
  'wait for confirms': true,
  'publish to nowhere': [404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'"],
  prefetch: ['0', '1', '2'],
  redelivery: [
    ['3', false, 4],
    ['4', false, 5],
    ['2', true, 6],
  ],
  'after reject': ['5'],
  recovered: ['5', true, 0],
  'unknown tag': [406, 'PRECONDITION_FAILED - unknown delivery tag 99'],
  'exclusive consumer': [403, "ACCESS_REFUSED - queue '~consumers' in vhost '/' in exclusive use"],
  'cancelled by the broker': ['mine'],
  'exclusive queue': [
    405,
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '~exclusive' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.",
  ],
  'gone with its connection': [404, "NOT_FOUND - no queue '~exclusive' in vhost '/'"],
  'get nothing': true,
  transactions: [0, 2, 2, 2],
  purge: 2,
  'not in use': [406, "PRECONDITION_FAILED - queue '~get' in vhost '/' in use"],
  rpc: [
    ['0', 'AMQ'],
    ['1', 'AMQ'],
  ],
  quorum: [null, 1, 2],
  stream: [
    ['2', 2],
    ['3', 3],
    ['4', 4],
  ],
  large: [true, true],
  channels: 100,
  'internal exchange': [403, "ACCESS_REFUSED - cannot publish to internal exchange '~internal' in vhost '/'"],
  kept: ['kept', false],
  closed: true,
};

/** What a client sees of a broker that may be stopped and put under pressure: only our own. */
const OWN_STORY: Story = {
  blocked: ['low on memory', 'unblocked'],
  stopped: [320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"],
};

/** Interpreters that may have Debian's modules; another may come first on the path. */
const PYTHONS = ['/usr/bin/python3', 'python3'];

interface Client {
  readonly name: string;
  readonly packages: string;
  /** The command that runs the program; null when the client is not installed. */
  command(): readonly string[] | null;
  /** Steps the client cannot do. */
  readonly without: readonly string[];
  /** What it sees in other words, or alone. */
  readonly own?: Story;
  /** The same, of our own broker alone. */
  readonly ownBroker?: Story;
  readonly options?: StoryOptions;
}

function python(module: string, program: string): readonly string[] | null {
  const found = PYTHONS.find((path) => works(path, '-c', `import ${module}`));
  return found === undefined ? null : [found, `python/${program}`];
}

/** The words with which the broker refuses a step. */
function textOf(step: string): unknown {
  return (STORY[step] as readonly unknown[])[1];
}

function withoutKey(value: unknown, key: string): Story {
  const { [key]: _, ...rest } = value as Story;
  return rest;
}

const PIKA: Client = {
  name: 'pika (Python)',
  packages: 'python3-pika',
  command: () => python('pika', 'pika_story.py'),
  without: ['wait for confirms'],
  own: {
    // It reads integers of 64 bits without their sign.
    'headers lost': ['very negative'],
    'headers lost by dead-lettering': ['very negative'],
    'wrong password': [
      'ProbableAuthenticationError',
      "ConnectionClosedByBroker: (403) 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.'",
    ],
    'wrong vhost': [
      'ProbableAccessDeniedError',
      "ConnectionClosedByBroker: (530) 'NOT_ALLOWED - vhost nowhere not found'",
    ],
  },
};

const JARS = ['/usr/share/java/amqp-client.jar', '/usr/share/java/slf4j-api.jar'];

const JAVA: Client = {
  name: 'the Java client',
  packages: 'librabbitmq-client-java default-jdk-headless',
  command: () =>
    JARS.every((jar) => existsSync(jar)) && works('javac', '-version')
      ? [
          'java',
          ...['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', JARS.join(':')],
          'java/JavaStory.java',
        ]
      : null,
  without: ['not in use'],
  own: {
    'wrong password':
      'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.',
  },
  ownBroker: { 'recovered by itself': 'after' },
};

const BUNNY: Client = {
  name: 'bunny (Ruby)',
  packages: 'ruby-bunny',
  command: () =>
    works('/usr/bin/ruby', '-e', 'require "bunny"') ? ['/usr/bin/ruby', 'ruby/bunny_story.rb'] : null,
  without: ['stopped'],
  own: {
    'wrong password': [
      'Bunny::AuthenticationFailureError',
      'Authentication with RabbitMQ failed. Please check your connection settings. Username: guest, vhost: /, password length: 5',
    ],
    'wrong vhost': [
      'Bunny::NotAllowedError',
      'Connection-level error: NOT_ALLOWED - vhost nowhere not found',
    ],
    // It hands on no returns of the default exchange.
    confirms: ['ack', 'ack', 'nack', [312, 'NO_ROUTE', 'amq.direct', '~nobody']],
  },
  ownBroker: { 'recovered by itself': 'after' },
};

const PHP_AMQPLIB: Client = {
  name: 'php-amqplib',
  packages: 'php-amqplib php-cli',
  command: () =>
    works('php', '-r', 'require "PhpAmqpLib/autoload.php";') ? ['php', 'php/amqplib_story.php'] : null,
  without: [],
  own: {
    'wrong password': [
      403,
      'ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN. For details see the broker logfile.(0, 0)',
    ],
    'wrong vhost': [530, 'NOT_ALLOWED - vhost nowhere not found(10, 40)'],
  },
  ownBroker: {
    stopped: [320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'(0, 0)"],
  },
};

const AIO_PIKA: Client = {
  name: 'aio-pika (Python)',
  packages: 'python3-aio-pika',
  command: () => python('aio_pika', 'aio_pika_story.py'),
  without: [
    ...['declared otherwise', 'declared not durable', 'bad argument', 'negative argument', 'length limit'],
    ...['recovered', 'unknown tag', 'cancelled by the broker', 'not in use', 'quorum', 'internal exchange'],
    ...['blocked', 'stopped'],
  ],
  own: {
    'wrong password': [
      'ProbableAuthenticationError',
      'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.',
    ],
    properties: { ...withoutKey(STORY['properties'], 'cluster_id'), expiration: 3600 },
    // Its numbers have other types when they come back.
    'headers lost': ['decimal', 'double'],
    'headers lost by dead-lettering': ['decimal', 'double'],
    // A returned message is not an error unless it is asked for.
    confirms: ['ack', 'ack', 'nack', 'ack'],
    'publish to nowhere': ['ChannelNotFoundEntity', textOf('publish to nowhere')],
    'exclusive consumer': ['ChannelAccessRefused', textOf('exclusive consumer')],
    'exclusive queue': ['ChannelLockedResource', textOf('exclusive queue')],
    'gone with its connection': ['ChannelNotFoundEntity', textOf('gone with its connection')],
    rpc: 'AMQ',
  },
  ownBroker: { 'recovered by itself': 'after' },
  // Its goodbye is cut off by its own connecting again.
  options: { stopGraceMs: 200 },
};

const PHP_AMQP: Client = {
  name: 'php-amqp (the PHP extension on the C client)',
  packages: 'php-amqp php-cli',
  command: () =>
    works('php', '-r', 'exit(extension_loaded("amqp") ? 0 : 1);') ? ['php', 'php/ext_story.php'] : null,
  without: [
    ...['exchange to exchange', 'declared not durable', 'bad argument', 'negative argument', 'length limit'],
    ...[
      'dead letter',
      'headers lost by dead-lettering',
      'wait for confirms',
      'publish to nowhere',
      'recovered',
    ],
    ...[
      'unknown tag',
      'exclusive consumer',
      'cancelled by the broker',
      'exclusive queue',
      'not in use',
      'purge',
    ],
    ...['gone with its connection', 'rpc', 'quorum', 'stream', 'channels', 'internal exchange', 'kept'],
    ...['blocked', 'stopped'],
  ],
  own: {
    'wrong password': [
      403,
      'Server connection error: 403, message: ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile. - Potential login failure.',
    ],
    'wrong vhost': [
      530,
      'Server connection error: 530, message: NOT_ALLOWED - vhost nowhere not found - Potential login failure.',
    ],
    'declared otherwise': [406, `Server channel error: 406, message: ${textOf('declared otherwise')}`],
    properties: withoutKey(STORY['properties'], 'cluster_id'),
    // It sends no figures and booleans inside lists and tables, and reads an empty body as false.
    'headers lost': ['list', 'table'],
    large: [true, false],
    transactions: [0, 2, 2],
  },
};

const GO_ENVIRONMENT = ['GO111MODULE=off', 'GOPATH=/usr/share/gocode'];

const GO: Client = {
  name: 'amqp091-go',
  packages: 'golang-go golang-github-rabbitmq-amqp091-go-dev',
  command: () =>
    existsSync('/usr/share/gocode/src/github.com/rabbitmq/amqp091-go') && works('go', 'version')
      ? ['env', ...GO_ENVIRONMENT, 'go', 'run', 'go/story.go']
      : null,
  without: [
    ...['exchange to exchange', 'declared otherwise', 'declared not durable', 'bad argument'],
    ...['negative argument', 'length limit', 'recovered', 'exclusive consumer', 'cancelled by the broker'],
    ...['exclusive queue', 'gone with its connection', 'not in use', 'quorum', 'stream', 'internal exchange'],
  ],
  own: {
    'wrong password': [403, 'username or password not allowed'],
    'wrong vhost': [403, 'no access to this vhost'],
    properties: withoutKey(STORY['properties'], 'cluster_id'),
  },
};

/** A worker and who gives it tasks: a story of its own. */
const CELERY: Client = {
  name: 'celery (Python), with kombu and py-amqp',
  packages: 'python3-celery',
  command: () => python('celery', 'celery_story.py'),
  without: [...Object.keys(STORY), ...Object.keys(OWN_STORY)],
  own: {
    result: 5,
    'for later': 42,
    'tried again': 2,
    chain: 7,
    group: [0, 2, 4, 6, 8, 10, 12, 14, 16, 18],
    ping: [{ ok: 'pong' }],
    inspect: ['~celery'],
    failure: 'on purpose',
    events: ['task-received', 'task-started', 'task-succeeded'],
    'worker ended': 0,
  },
};

const CLIENTS: readonly Client[] = [
  PIKA,
  { ...PIKA, name: 'pika over TLS', options: { tls: true } },
  AIO_PIKA,
  CELERY,
  JAVA,
  BUNNY,
  { ...BUNNY, name: 'bunny over TLS', options: { tls: true } },
  PHP_AMQPLIB,
  PHP_AMQP,
  GO,
];

for (const client of CLIENTS) {
  test(
    client.name,
    async (context) => {
      const { options = {} } = client;
      if (options.tls === true && target.broker === null)
        return context.skip('needs a broker with TLS and our certificate');
      const command = client.command();
      if (command === null) return context.skip(`not installed (Debian: apt-get install ${client.packages})`);
      const expected: Story = {
        ...STORY,
        ...client.own,
        ...(target.broker !== null && { ...OWN_STORY, ...client.ownBroker }),
      };
      for (const step of client.without) delete expected[step];
      expect(await tell(target, command, options)).toEqual(expected);
    },
    STORY_LIMIT_MS,
  );
}
