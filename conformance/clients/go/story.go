// amqp091-go: a short story. GO111MODULE=off GOPATH=/usr/share/gocode go run story.go <url> <prefix>
// Prints one JSON line per step; the test compares it with what a client must see.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type any = interface{}

var url, prefix = os.Args[1], os.Args[2]
var ctx = context.Background()

func name(suffix string) string { return prefix + suffix }

func say(step string, saw any) {
	line, _ := json.Marshal(map[string]any{"step": step, "saw": saw})
	fmt.Println(string(line))
}

func ask(what string) bool {
	fmt.Printf("{\"ask\":%q}\n", what)
	var answer string
	fmt.Scanln(&answer)
	return answer == "done"
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func refusal(err error) any {
	var refused *amqp.Error
	if errors.As(err, &refused) {
		return []any{refused.Code, refused.Reason}
	}
	return fmt.Sprint(err)
}

func channelOf(connection *amqp.Connection) *amqp.Channel {
	channel, err := connection.Channel()
	must(err)
	return channel
}

func declare(channel *amqp.Channel, queue string, arguments amqp.Table) string {
	declared, err := channel.QueueDeclare(queue, false, false, true, false, arguments)
	must(err)
	return declared.Name
}

func send(channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	must(channel.PublishWithContext(ctx, exchange, key, true, false, message))
}

func lost(sent, came amqp.Table) []string {
	keys := []string{}
	for key, value := range sent {
		if !reflect.DeepEqual(value, came[key]) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys
}

func main() {
	_, err := amqp.Dial(strings.Replace(url, ":guest@", ":wrong@", 1))
	say("wrong password", refusal(err))
	_, err = amqp.DialConfig(url, amqp.Config{Vhost: "nowhere"})
	say("wrong vhost", refusal(err))

	connection, err := amqp.Dial(url)
	must(err)
	channel := channelOf(connection)
	closedWith := func(work func(*amqp.Channel) error) any {
		one := channelOf(connection)
		closed := one.NotifyClose(make(chan *amqp.Error, 1))
		if err := work(one); err != nil {
			return refusal(err)
		}
		return refusal(<-closed)
	}

	saw := map[string][]string{}
	for _, one := range []struct {
		kind, key string
		arguments amqp.Table
		keys      []string
	}{
		{"direct", "a", nil, []string{"a", "b"}},
		{"fanout", "", nil, []string{"a", "b"}},
		{"topic", "*.hare.#", nil, []string{"brown.hare", "brown.hare.runs.far", "hare.runs"}},
		{"headers", "", amqp.Table{"x-match": "all", "colour": "brown", "legs": int32(4)}, []string{"with", "without"}},
	} {
		must(channel.ExchangeDeclare(name(one.kind), one.kind, false, true, false, false, nil))
		queue := declare(channel, "", nil)
		must(channel.QueueBind(queue, one.key, name(one.kind), false, one.arguments))
		for _, key := range one.keys {
			headers := amqp.Table{"colour": "brown"}
			if key == "with" {
				headers["legs"] = int64(4)
			}
			send(channel, name(one.kind), key, amqp.Publishing{Body: []byte(key), Headers: headers})
		}
		for {
			message, ok, err := channel.Get(queue, true)
			must(err)
			if !ok {
				break
			}
			saw[one.kind] = append(saw[one.kind], string(message.Body))
		}
	}
	say("exchanges", saw)

	dead := declare(channel, "", nil)
	queue := declare(channel, name("properties"), amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
	headers := amqp.Table{
		"text": "Häsin", "bytes": []byte{0, 255}, "yes": true, "no": false, "byte": byte(200), "short": int16(-7), "int": int32(-70000),
		"long": int64(-1 << 63), "float": float32(-0.5), "double": 1e300, "decimal": amqp.Decimal{Scale: 2, Value: 314},
		"time": time.Unix(1770000000, 0), "nothing": nil, "list": []any{int32(1), "two", []any{int64(3)}, amqp.Table{"four": int32(4)}},
		"table": amqp.Table{"inner": amqp.Table{"deep": []any{true}}},
	}
	send(channel, "", queue, amqp.Publishing{Headers: headers, ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 9,
		CorrelationId: "correlation", ReplyTo: "reply", Expiration: "3600000", MessageId: "message", Timestamp: time.Unix(1770000000, 0),
		Type: "type", UserId: "guest", AppId: "app", Body: []byte("body")})
	message, _, err := channel.Get(queue, false)
	must(err)
	say("properties", map[string]any{"content_type": message.ContentType, "content_encoding": message.ContentEncoding,
		"delivery_mode": message.DeliveryMode, "priority": message.Priority, "correlation_id": message.CorrelationId,
		"reply_to": message.ReplyTo, "expiration": message.Expiration, "message_id": message.MessageId,
		"timestamp": message.Timestamp.Unix(), "type": message.Type, "user_id": message.UserId, "app_id": message.AppId,
		"body": string(message.Body)})
	say("headers lost", lost(headers, message.Headers))
	letters, err := channel.Consume(dead, "", true, false, false, false, nil)
	must(err)
	must(message.Reject(false))
	letter := <-letters
	death := letter.Headers["x-death"].([]any)[0].(amqp.Table)
	if _, ok := death["time"].(time.Time); ok {
		death["when"] = "datetime"
	}
	delete(death, "time")
	death["expiration"] = nil
	if letter.Expiration != "" {
		death["expiration"] = letter.Expiration
	}
	say("dead letter", death)
	say("headers lost by dead-lettering", lost(headers, letter.Headers))

	confirms := channelOf(connection)
	must(confirms.Confirm(false))
	settled := confirms.NotifyPublish(make(chan amqp.Confirmation, 2000))
	returned := confirms.NotifyReturn(make(chan amqp.Return, 1))
	queue = declare(confirms, "", amqp.Table{"x-max-length": int32(2), "x-overflow": "reject-publish"})
	words := []any{}
	for n := 0; n < 4; n++ {
		key := queue
		if n == 3 {
			key = name("nobody")
		}
		send(confirms, "", key, amqp.Publishing{Body: []byte("x")})
		confirmed := <-settled
		if n == 3 {
			back := <-returned
			words = append(words, []any{back.ReplyCode, back.ReplyText, back.Exchange, back.RoutingKey})
		} else if confirmed.Ack {
			words = append(words, "ack")
		} else {
			words = append(words, "nack")
		}
	}
	say("confirms", words)
	for n := 0; n < 1000; n++ {
		must(confirms.PublishWithContext(ctx, "", name("nobody"), false, false, amqp.Publishing{}))
	}
	all := true
	for n := 0; n < 1000; n++ {
		all = (<-settled).Ack && all
	}
	say("wait for confirms", all)
	say("publish to nowhere", closedWith(func(c *amqp.Channel) error {
		return c.PublishWithContext(ctx, "nowhere", "", false, false, amqp.Publishing{})
	}))

	tasks := channelOf(connection)
	queue = declare(tasks, "", nil)
	must(tasks.Qos(3, 0, false))
	for n := 0; n < 6; n++ {
		send(tasks, "", queue, amqp.Publishing{Body: []byte(fmt.Sprint(n))})
	}
	inbox, err := tasks.Consume(queue, "me", false, false, false, false, nil)
	must(err)
	came := []amqp.Delivery{<-inbox, <-inbox, <-inbox}
	_, err = tasks.QueueInspect(queue)
	must(err)
	texts := []string{}
	for _, one := range came {
		texts = append(texts, string(one.Body))
	}
	for n := len(inbox); n > 0; n-- {
		texts = append(texts, string((<-inbox).Body))
	}
	say("prefetch", texts)
	must(came[1].Ack(true))
	came = append(came, <-inbox, <-inbox)
	must(came[2].Nack(false, true))
	came = append(came, <-inbox)
	again := []any{}
	for _, one := range came[3:] {
		again = append(again, []any{string(one.Body), one.Redelivered, one.DeliveryTag})
	}
	say("redelivery", again)
	must(came[3].Reject(false))
	must(came[5].Ack(true))
	last := <-inbox
	say("after reject", []string{string(last.Body)})
	say("unknown tag", closedWith(func(c *amqp.Channel) error { return c.Ack(99, false) }))

	queue = declare(channel, name("get"), nil)
	_, some, err := channel.Get(queue, true)
	must(err)
	say("get nothing", !some)
	count := func() int {
		state, err := channel.QueueInspect(queue)
		must(err)
		return state.Messages
	}
	tx := channelOf(connection)
	must(tx.Tx())
	send(tx, "", queue, amqp.Publishing{Body: []byte("one")})
	send(tx, "", queue, amqp.Publishing{Body: []byte("two")})
	counts := []int{count()}
	must(tx.TxCommit())
	counts = append(counts, count())
	send(tx, "", queue, amqp.Publishing{Body: []byte("three")})
	must(tx.TxRollback())
	counts = append(counts, count())
	taken, _, err := tx.Get(queue, false)
	must(err)
	must(taken.Ack(false))
	must(tx.TxRollback())
	must(tx.Close())
	say("transactions", append(counts, count()))
	purged, err := channel.QueuePurge(queue, false)
	must(err)
	say("purge", purged)

	server := channelOf(connection)
	requests, err := server.Consume(declare(server, name("rpc"), nil), "", true, false, false, false, nil)
	must(err)
	go func() {
		for request := range requests {
			send(server, "", request.ReplyTo, amqp.Publishing{CorrelationId: request.CorrelationId, Body: bytes.ToUpper(request.Body)})
		}
	}()
	client := channelOf(connection)
	replies := []any{}
	for n, replyTo := range []string{declare(client, "", nil), "amq.rabbitmq.reply-to"} {
		answers, err := client.Consume(replyTo, "", true, false, false, false, nil)
		must(err)
		send(client, "", name("rpc"), amqp.Publishing{ReplyTo: replyTo, CorrelationId: fmt.Sprint(n), Body: []byte("amq")})
		answer := <-answers
		replies = append(replies, []any{answer.CorrelationId, string(answer.Body)})
	}
	say("rpc", replies)

	body := bytes.Repeat([]byte("0123456789"), 1<<20)
	send(channel, "", queue, amqp.Publishing{Body: body})
	send(channel, "", queue, amqp.Publishing{})
	large, _, err := channel.Get(queue, true)
	must(err)
	empty, _, err := channel.Get(queue, true)
	must(err)
	say("large", []bool{bytes.Equal(large.Body, body), len(empty.Body) == 0})
	channels := []*amqp.Channel{}
	for n := 0; n < 100; n++ {
		channels = append(channels, channelOf(connection))
	}
	open := 0
	for _, one := range channels {
		_, err := one.QueueInspect(queue)
		must(err)
		open++
		must(one.Close())
	}
	say("channels", open)

	if ask("alarm") {
		other, err := amqp.Dial(url)
		must(err)
		blocked := other.NotifyBlocked(make(chan amqp.Blocking, 2))
		must(channelOf(other).PublishWithContext(ctx, "", name("nobody"), false, false, amqp.Publishing{}))
		first := <-blocked
		ask("all clear")
		if second := <-blocked; !second.Active {
			say("blocked", []string{first.Reason, "unblocked"})
		}
		must(other.Close())
	}

	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	_, err = channel.QueueDeclare(name("kept"), true, false, false, false, nil)
	must(err)
	send(channel, "", name("kept"), amqp.Publishing{DeliveryMode: 2, Body: []byte("kept")})
	_, err = channel.QueueInspect(name("kept"))
	must(err)
	if ask("stop") {
		say("stopped", refusal(<-closed))
		ask("start")
		connection, err = amqp.Dial(url)
		must(err)
		channel = channelOf(connection)
	}
	message, _, err = channel.Get(name("kept"), true)
	must(err)
	say("kept", []any{string(message.Body), message.Redelivered})
	_, err = channel.QueueDelete(name("kept"), false, false, false)
	must(err)
	must(connection.Close())
	say("closed", connection.IsClosed())
}
