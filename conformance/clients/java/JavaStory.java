// RabbitMQ's Java client, with its automatic recovery of connections and of what was declared on them.
// java -cp /usr/share/java/amqp-client.jar:/usr/share/java/slf4j-api.jar JavaStory.java <amqp url> <prefix>
// Prints one JSON line per step; the test compares it with what a client must see.
import com.rabbitmq.client.*;
import java.io.*;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;

public class JavaStory {
  static String prefix;
  static ConnectionFactory factory;
  static Connection connection;
  static final BufferedReader input = new BufferedReader(new InputStreamReader(System.in));

  interface Work { void on(Channel channel) throws Exception; }

  static String name(String suffix) { return prefix + suffix; }

  static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }

  static String json(Object value) {
    if (value == null || value instanceof Boolean || value instanceof Number) return String.valueOf(value);
    if (value instanceof Map<?, ?> map) {
      List<String> parts = new ArrayList<>();
      map.forEach((k, v) -> parts.add(json(k.toString()) + ":" + json(v)));
      return "{" + String.join(",", parts) + "}";
    }
    if (value instanceof Collection<?> list) {
      List<String> parts = new ArrayList<>();
      for (Object one : list) parts.add(json(one));
      return "[" + String.join(",", parts) + "]";
    }
    return "\"" + value.toString().replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
  }

  static void say(String step, Object saw) { System.out.println("{\"step\":" + json(step) + ",\"saw\":" + json(saw) + "}"); }

  static boolean ask(String what) throws IOException {
    System.out.println("{\"ask\":" + json(what) + "}");
    return "done".equals(input.readLine());
  }

  static <T> T take(BlockingQueue<T> queue) throws Exception {
    T one = queue.poll(60, TimeUnit.SECONDS);
    if (one == null) throw new TimeoutException("nothing came for a minute");
    return one;
  }

  /** What came back for what was sent, in values that can be compared. */
  static Object plain(Object value) {
    if (value instanceof LongString text) return text.toString();
    if (value instanceof byte[] raw) return "bytes " + Arrays.toString(raw);
    if (value instanceof Map<?, ?> map) {
      Map<Object, Object> result = new TreeMap<>();
      map.forEach((k, v) -> result.put(k, plain(v)));
      return result;
    }
    if (value instanceof List<?> list) {
      List<Object> result = new ArrayList<>();
      for (Object one : list) result.add(plain(one));
      return result;
    }
    return value;
  }

  static List<String> lost(Map<String, Object> sent, Map<String, Object> came) {
    List<String> keys = new ArrayList<>();
    sent.forEach((k, v) -> { if (!came.containsKey(k) || !Objects.equals(plain(v), plain(came.get(k)))) keys.add(k); });
    return keys;
  }

  static List<Object> reasonOf(ShutdownSignalException signal) {
    if (signal.getReason() instanceof AMQP.Channel.Close close) return List.of(close.getReplyCode(), close.getReplyText());
    if (signal.getReason() instanceof AMQP.Connection.Close close) return List.of(close.getReplyCode(), close.getReplyText());
    return List.of(0, String.valueOf(signal.getMessage()));
  }

  /** The code and text with which the broker closes the channel during the work. */
  static List<Object> closedWith(Work work) throws Exception {
    Channel channel = connection.createChannel();
    try {
      work.on(channel);
      channel.close();
      return null;
    } catch (IOException error) {
      return reasonOf((ShutdownSignalException) error.getCause());
    } catch (AlreadyClosedException error) {
      return reasonOf(error);
    }
  }

  static List<String> drain(Channel channel, String queue) throws Exception {
    List<String> bodies = new ArrayList<>();
    for (GetResponse got; (got = channel.basicGet(queue, true)) != null; ) bodies.add(new String(got.getBody(), StandardCharsets.UTF_8));
    return bodies;
  }

  static Map<String, Object> map(Object... pairs) {
    Map<String, Object> result = new LinkedHashMap<>();
    for (int i = 0; i < pairs.length; i += 2) result.put((String) pairs[i], pairs[i + 1]);
    return result;
  }

  static class Inbox extends DefaultConsumer {
    final BlockingQueue<Delivery> messages = new LinkedBlockingQueue<>();
    final BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
    Inbox(Channel channel) { super(channel); }
    @Override public void handleDelivery(String tag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
      messages.add(new Delivery(envelope, properties, body));
    }
    @Override public void handleCancel(String tag) { cancelled.add(tag); }
    Delivery next() throws Exception { return take(messages); }
    String text() throws Exception { return new String(next().body, StandardCharsets.UTF_8); }
  }

  record Delivery(Envelope envelope, AMQP.BasicProperties properties, byte[] body) {}

  public static void main(String[] args) throws Exception {
    try {
      tell(args);
    } catch (Throwable error) {
      error.printStackTrace();
      System.exit(1);
    }
  }

  static void tell(String[] args) throws Exception {
    prefix = args[1];
    factory = new ConnectionFactory();
    factory.setUri(args[0]);
    factory.setConnectionTimeout(60_000);
    factory.setHandshakeTimeout(60_000);
    factory.setNetworkRecoveryInterval(50);

    ConnectionFactory wrong = factory.clone();
    wrong.setPassword("wrong");
    try { wrong.newConnection(); say("wrong password", null); } catch (AuthenticationFailureException error) { say("wrong password", error.getMessage()); }
    wrong = factory.clone();
    wrong.setVirtualHost("nowhere");
    try { wrong.newConnection(); say("wrong vhost", null); } catch (IOException error) { say("wrong vhost", reasonOf((ShutdownSignalException) error.getCause())); }

    connection = factory.newConnection();
    Channel channel = connection.createChannel();

    Map<String, Object> saw = map();
    for (Object[] one : new Object[][] {
      {"direct", "a", Map.of(), List.of("a", "b")},
      {"fanout", "", Map.of(), List.of("a", "b")},
      {"topic", "*.hare.#", Map.of(), List.of("brown.hare", "brown.hare.runs.far", "hare.runs")},
      {"headers", "", Map.of("x-match", "all", "colour", "brown", "legs", 4), List.of("with", "without")},
    }) {
      String kind = (String) one[0];
      channel.exchangeDeclare(name(kind), kind, false, true, null);
      String queue = channel.queueDeclare("", false, true, false, null).getQueue();
      @SuppressWarnings("unchecked") Map<String, Object> arguments = (Map<String, Object>) one[2];
      channel.queueBind(queue, name(kind), (String) one[1], arguments);
      for (Object key : (List<?>) one[3]) {
        Map<String, Object> headers = key.equals("with") ? Map.of("colour", "brown", "legs", 4L) : Map.of("colour", "brown");
        channel.basicPublish(name(kind), (String) key, new AMQP.BasicProperties.Builder().headers(headers).build(), bytes((String) key));
      }
      saw.put(kind, drain(channel, queue));
    }
    say("exchanges", saw);

    channel.exchangeDeclare(name("inner"), "fanout", false, true, true, null);
    channel.exchangeDeclare(name("outer"), "direct", false, true, Map.of("alternate-exchange", name("inner")));
    channel.exchangeBind(name("inner"), name("outer"), "through");
    String queue = channel.queueDeclare("", false, true, false, null).getQueue();
    channel.queueBind(queue, name("inner"), "");
    for (String key : List.of("through", "elsewhere")) channel.basicPublish(name("outer"), key, null, bytes(key));
    say("exchange to exchange", drain(channel, queue));

    Map<String, Object> arguments = map(
      "x-message-ttl", 3600000, "x-expires", 7200000L, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "elsewhere",
      "x-max-length", 3, "x-max-length-bytes", 1L << 33, "x-overflow", "drop-head", "x-max-priority", (byte) 5,
      "x-single-active-consumer", true, "x-queue-mode", "lazy");
    String argued = name("arguments");
    channel.queueDeclare(argued, true, false, false, arguments);
    // The same figure in another width is the same.
    Map<String, Object> wider = new HashMap<>(arguments);
    wider.put("x-max-length", 3L);
    channel.queueDeclare(argued, true, false, false, wider);
    Map<String, Object> other = new HashMap<>(arguments);
    other.put("x-max-length", 5);
    say("declared otherwise", closedWith(c -> c.queueDeclare(argued, true, false, false, other)));
    say("declared not durable", closedWith(c -> c.queueDeclare(argued, false, false, false, arguments)));
    say("bad argument", closedWith(c -> c.queueDeclare(name("bad"), false, false, false, Map.of("x-message-ttl", "soon"))));
    say("negative argument", closedWith(c -> c.queueDeclare(name("bad"), false, false, false, Map.of("x-message-ttl", -1))));
    for (int n = 0; n < 5; n++) channel.basicPublish("", argued, new AMQP.BasicProperties.Builder().priority(n).build(), bytes("" + n));
    say("length limit", drain(channel, argued));
    channel.queueDelete(argued);

    String dead = channel.queueDeclare("", false, true, false, null).getQueue();
    queue = name("properties");
    channel.queueDeclare(queue, false, true, false, Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead));
    Map<String, Object> headers = map(
      "text", "Häsin", "bytes", new byte[] {0, -1}, "yes", true, "no", false, "byte", (byte) -7, "short", (short) -700, "int", -70000,
      "long", Long.MIN_VALUE, "big", Long.MAX_VALUE, "float", -0.5f, "double", 1e300, "decimal", new BigDecimal("3.14"),
      "negative decimal", new BigDecimal("-3.14"), "time", new Date(1770000000000L), "old", new Date(-1000L), "nothing", null,
      "list", Arrays.asList(1, "two", List.of(3), Map.of("four", 4), null), "table", Map.of("inner", Map.of("deep", List.of(true))),
      "empty", Map.of());
    channel.basicPublish("", queue, new AMQP.BasicProperties("text/plain", "utf-8", headers, 2, 9, "correlation", "reply", "3600000", "message",
      new Date(1770000000000L), "type", "guest", "app", "cluster"), bytes("body"));
    GetResponse got = channel.basicGet(queue, false);
    AMQP.BasicProperties p = got.getProps();
    say("properties", map("content_type", p.getContentType(), "content_encoding", p.getContentEncoding(), "delivery_mode", p.getDeliveryMode(),
      "priority", p.getPriority(), "correlation_id", p.getCorrelationId(), "reply_to", p.getReplyTo(), "expiration", p.getExpiration(),
      "message_id", p.getMessageId(), "timestamp", p.getTimestamp().getTime() / 1000, "type", p.getType(), "user_id", p.getUserId(),
      "app_id", p.getAppId(), "cluster_id", p.getClusterId(), "body", new String(got.getBody())));
    say("headers lost", lost(headers, p.getHeaders()));
    channel.basicReject(got.getEnvelope().getDeliveryTag(), false);
    Inbox letters = new Inbox(channel);
    channel.basicConsume(dead, true, letters);
    p = letters.next().properties;
    @SuppressWarnings("unchecked") Map<String, Object> death = (Map<String, Object>) plain(((List<Object>) p.getHeaders().get("x-death")).get(0));
    death.put("when", death.remove("time") instanceof Date ? "datetime" : "");
    death.put("expiration", p.getExpiration());
    say("dead letter", death);
    say("headers lost by dead-lettering", lost(headers, p.getHeaders()));

    // Confirms, as they come.
    Channel confirms = connection.createChannel();
    confirms.confirmSelect();
    BlockingQueue<Object> settled = new LinkedBlockingQueue<>();
    confirms.addConfirmListener(new ConfirmListener() {
      public void handleAck(long tag, boolean multiple) { settled.add("ack"); }
      public void handleNack(long tag, boolean multiple) { settled.add("nack"); }
    });
    confirms.addReturnListener((code, text, exchange, key, properties, body) -> settled.add(List.of(code, text, exchange, key)));
    queue = confirms.queueDeclare("", false, true, true, Map.of("x-max-length", 2, "x-overflow", "reject-publish")).getQueue();
    List<Object> confirmed = new ArrayList<>();
    for (int n = 0; n < 4; n++) {
      confirms.basicPublish("", n < 3 ? queue : name("nobody"), true, null, bytes("x"));
      Object first = take(settled);
      confirmed.add(first);
      if (first instanceof List) take(settled);
    }
    say("confirms", confirmed);
    confirms.waitForConfirms(60_000); // Tells of the nack above.
    for (int n = 0; n < 1000; n++) confirms.basicPublish("", name("nobody"), null, bytes("x"));
    say("wait for confirms", confirms.waitForConfirms(60_000));
    say("publish to nowhere", closedWith(c -> { c.basicPublish("nowhere", "", null, bytes("")); c.queueDeclare(); }));

    Channel tasks = connection.createChannel();
    queue = tasks.queueDeclare("", false, true, false, null).getQueue();
    tasks.basicQos(3);
    for (int n = 0; n < 6; n++) tasks.basicPublish("", queue, null, bytes("" + n));
    Inbox inbox = new Inbox(tasks);
    String tag = tasks.basicConsume(queue, false, inbox);
    List<Delivery> came = new ArrayList<>();
    for (int n = 0; n < 3; n++) came.add(inbox.next());
    tasks.queueDeclarePassive(queue);
    say("prefetch", List.of(new String(came.get(0).body), new String(came.get(1).body), new String(came.get(2).body)).subList(0, 3 + inbox.messages.size()));
    tasks.basicAck(came.get(1).envelope.getDeliveryTag(), true);
    List<Object> again = new ArrayList<>();
    for (int n = 0; n < 3; n++) {
      // Where the message comes in again depends on what has been delivered before.
      if (n == 2) tasks.basicNack(came.get(2).envelope.getDeliveryTag(), false, true);
      Delivery one = inbox.next();
      came.add(one);
      again.add(List.of(new String(one.body), one.envelope.isRedeliver(), one.envelope.getDeliveryTag()));
    }
    say("redelivery", again);
    tasks.basicReject(came.get(3).envelope.getDeliveryTag(), false);
    tasks.basicAck(came.get(5).envelope.getDeliveryTag(), true);
    say("after reject", List.of(inbox.text()));
    tasks.basicCancel(tag);
    tasks.basicRecover(true);
    got = tasks.basicGet(queue, true);
    say("recovered", List.of(new String(got.getBody()), got.getEnvelope().isRedeliver(), got.getMessageCount()));
    String passive = queue;
    say("unknown tag", closedWith(c -> { c.basicAck(99, false); c.queueDeclarePassive(passive); }));

    String consumers = name("consumers");
    tasks.queueDeclare(consumers, false, false, false, null);
    tasks.basicConsume(consumers, false, "mine", false, true, null, inbox);
    say("exclusive consumer", closedWith(c -> c.basicConsume(consumers, inbox)));
    connection.createChannel().queueDelete(consumers);
    say("cancelled by the broker", List.of(take(inbox.cancelled)));

    Connection stranger = factory.newConnection();
    stranger.createChannel().queueDeclare(name("exclusive"), false, true, false, null);
    say("exclusive queue", closedWith(c -> c.queueDeclarePassive(name("exclusive"))));
    stranger.close();
    say("gone with its connection", closedWith(c -> c.queueDeclarePassive(name("exclusive"))));

    String held = channel.queueDeclare("", false, true, false, null).getQueue();
    say("get nothing", channel.basicGet(held, true) == null);
    Channel tx = connection.createChannel();
    tx.txSelect();
    List<Object> counts = new ArrayList<>();
    tx.basicPublish("", held, null, bytes("one"));
    tx.basicPublish("", held, null, bytes("two"));
    counts.add(channel.messageCount(held));
    tx.txCommit();
    counts.add(channel.messageCount(held));
    tx.basicPublish("", held, null, bytes("three"));
    tx.txRollback();
    counts.add(channel.messageCount(held));
    tx.basicAck(tx.basicGet(held, false).getEnvelope().getDeliveryTag(), false);
    tx.txRollback();
    tx.close();
    counts.add(channel.messageCount(held));
    say("transactions", counts);
    say("purge", channel.queuePurge(held).getMessageCount());

    Channel server = connection.createChannel();
    server.queueDeclare(name("rpc"), false, true, false, null);
    RpcServer rpc = new RpcServer(server, name("rpc")) {
      @Override public byte[] handleCall(byte[] body, AMQP.BasicProperties properties) { return bytes(new String(body).toUpperCase()); }
    };
    Thread serving = new Thread(() -> { try { rpc.mainloop(); } catch (IOException error) { throw new UncheckedIOException(error); } });
    serving.start();
    RpcClient client = new RpcClient(connection.createChannel(), "", name("rpc"));
    RpcClient second = new RpcClient(connection.createChannel(), "", name("rpc"), connection.createChannel().queueDeclare("", false, true, false, null).getQueue());
    say("rpc", List.of(List.of("0", client.stringCall("amq")), List.of("1", second.stringCall("amq"))));
    rpc.terminateMainloop();
    client.stringCall("end");
    serving.join();

    String quorum = name("quorum");
    channel.queueDeclare(quorum, true, false, false, Map.of("x-queue-type", "quorum", "x-delivery-limit", 2));
    channel.basicPublish("", quorum, MessageProperties.PERSISTENT_BASIC, bytes("x"));
    Inbox limited = new Inbox(channel);
    tag = channel.basicConsume(quorum, false, limited);
    List<Object> times = new ArrayList<>();
    for (int n = 0; n < 3; n++) {
      Delivery one = limited.next();
      times.add(one.properties.getHeaders() == null ? null : one.properties.getHeaders().get("x-delivery-count"));
      channel.basicNack(one.envelope.getDeliveryTag(), false, true);
    }
    say("quorum", times);
    channel.queueDelete(quorum);
    Channel reader = connection.createChannel();
    reader.queueDeclare(name("stream"), true, false, false, Map.of("x-queue-type", "stream"));
    for (int n = 0; n < 5; n++) reader.basicPublish("", name("stream"), null, bytes("" + n));
    reader.basicQos(10);
    Inbox stream = new Inbox(reader);
    reader.basicConsume(name("stream"), false, Map.of("x-stream-offset", 2), stream);
    List<Object> offsets = new ArrayList<>();
    for (int n = 0; n < 3; n++) {
      Delivery one = stream.next();
      offsets.add(List.of(new String(one.body), one.properties.getHeaders().get("x-stream-offset")));
      reader.basicAck(one.envelope.getDeliveryTag(), false);
    }
    say("stream", offsets);
    reader.queueDelete(name("stream"));

    byte[] body = new byte[10 << 20];
    new Random(7).nextBytes(body);
    channel.basicPublish("", held, null, body);
    channel.basicPublish("", held, null, new byte[0]);
    say("large", List.of(Arrays.equals(body, channel.basicGet(held, true).getBody()), channel.basicGet(held, true).getBody().length == 0));
    List<Channel> many = new ArrayList<>();
    for (int n = 0; n < 100; n++) many.add(connection.createChannel());
    int open = 0;
    for (Channel one : many) if (one.queueDeclarePassive(held) != null) open++;
    say("channels", open);
    for (Channel one : many) one.close();

    channel.exchangeDeclare(name("internal"), "direct", false, false, true, null);
    say("internal exchange", closedWith(c -> { c.basicPublish(name("internal"), "", null, bytes("")); c.queueDeclare(); }));
    channel.exchangeDelete(name("internal"));

    if (ask("alarm")) {
      Connection publisher = factory.newConnection();
      BlockingQueue<String> seen = new LinkedBlockingQueue<>();
      publisher.addBlockedListener(new BlockedListener() {
        public void handleBlocked(String reason) { seen.add(reason); }
        public void handleUnblocked() { seen.add("unblocked"); }
      });
      publisher.createChannel().basicPublish("", name("nobody"), null, bytes(""));
      String reason = take(seen);
      ask("all clear");
      say("blocked", List.of(reason, take(seen)));
      publisher.close();
    }

    // Automatic recovery: the connection, the channel, what it declared and who consumed come again by themselves.
    Channel kept = connection.createChannel();
    kept.queueDeclare(name("kept"), true, false, false, null);
    kept.exchangeDeclare(name("again"), "fanout", false, true, null);
    String mine = kept.queueDeclare("", false, true, false, null).getQueue();
    kept.queueBind(mine, name("again"), "");
    kept.basicPublish("", name("kept"), MessageProperties.PERSISTENT_BASIC, bytes("kept"));
    kept.queueDeclarePassive(name("kept"));
    Inbox after = new Inbox(kept);
    BlockingQueue<Object> ended = new LinkedBlockingQueue<>();
    BlockingQueue<Object> recovered = new LinkedBlockingQueue<>();
    kept.basicConsume(mine, true, after);
    connection.addShutdownListener(signal -> ended.add(reasonOf(signal)));
    ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
      public void handleRecovery(Recoverable what) { recovered.add(true); }
      public void handleRecoveryStarted(Recoverable what) {}
    });
    if (ask("stop")) {
      say("stopped", take(ended));
      ask("start");
      take(recovered);
      kept.basicPublish(name("again"), "", null, bytes("after"));
      say("recovered by itself", after.text());
    }
    got = kept.basicGet(name("kept"), true);
    say("kept", List.of(new String(got.getBody()), got.getEnvelope().isRedeliver()));
    kept.queueDelete(name("kept"));
    connection.close();
    say("closed", !connection.isOpen());
  }
}
