package main

// field kinds. "view" is a short string that is decoded as []byte without a copy, for methods that come or go once a message.
const (
	bit      = "bit"
	octet    = "octet"
	short    = "short"
	long     = "long"
	longlong = "longlong"
	shortstr = "shortstr"
	view     = "view"
	longstr  = "longstr"
	table    = "table"
)

// field is one argument. An empty name is a reserved one: zero on the wire, absent from the struct.
type field struct{ name, kind string }

type method struct {
	name   string // of the specification
	id     uint16
	fields []field
}

type class struct {
	name    string
	id      uint16
	methods []method
}

func closeFields() []field {
	return []field{{"ReplyCode", short}, {"ReplyText", shortstr}, {"ClassID", short}, {"MethodID", short}}
}

func tuneFields() []field {
	return []field{{"ChannelMax", short}, {"FrameMax", long}, {"Heartbeat", short}}
}

func exchangeBindFields() []field {
	return []field{{"", short}, {"Destination", shortstr}, {"Source", shortstr}, {"RoutingKey", shortstr}, {"NoWait", bit}, {"Arguments", table}}
}

// spec is AMQP 0-9-1's methods with RabbitMQ's extensions.
func spec() []class {
	return []class{
		{"connection", 10, []method{
			{"start", 10, []field{{"VersionMajor", octet}, {"VersionMinor", octet}, {"ServerProperties", table}, {"Mechanisms", longstr}, {"Locales", longstr}}},
			{"start-ok", 11, []field{{"ClientProperties", table}, {"Mechanism", shortstr}, {"Response", longstr}, {"Locale", shortstr}}},
			{"secure", 20, []field{{"Challenge", longstr}}},
			{"secure-ok", 21, []field{{"Response", longstr}}},
			{"tune", 30, tuneFields()},
			{"tune-ok", 31, tuneFields()},
			{"open", 40, []field{{"VirtualHost", shortstr}, {"", shortstr}, {"", bit}}},
			{"open-ok", 41, []field{{"", shortstr}}},
			{"close", 50, closeFields()},
			{"close-ok", 51, nil},
			{"blocked", 60, []field{{"Reason", shortstr}}},
			{"unblocked", 61, nil},
			{"update-secret", 70, []field{{"NewSecret", longstr}, {"Reason", shortstr}}},
			{"update-secret-ok", 71, nil},
		}},
		{"channel", 20, []method{
			{"open", 10, []field{{"", shortstr}}},
			{"open-ok", 11, []field{{"", longstr}}},
			{"flow", 20, []field{{"Active", bit}}},
			{"flow-ok", 21, []field{{"Active", bit}}},
			{"close", 40, closeFields()},
			{"close-ok", 41, nil},
		}},
		{"access", 30, []method{
			{"request", 10, []field{{"Realm", shortstr}, {"Exclusive", bit}, {"Passive", bit}, {"Active", bit}, {"Write", bit}, {"Read", bit}}},
			{"request-ok", 11, []field{{"Ticket", short}}},
		}},
		{"exchange", 40, []method{
			{"declare", 10, []field{{"", short}, {"Exchange", shortstr}, {"Type", shortstr}, {"Passive", bit}, {"Durable", bit}, {"AutoDelete", bit}, {"Internal", bit}, {"NoWait", bit}, {"Arguments", table}}},
			{"declare-ok", 11, nil},
			{"delete", 20, []field{{"", short}, {"Exchange", shortstr}, {"IfUnused", bit}, {"NoWait", bit}}},
			{"delete-ok", 21, nil},
			{"bind", 30, exchangeBindFields()},
			{"bind-ok", 31, nil},
			{"unbind", 40, exchangeBindFields()},
			{"unbind-ok", 51, nil}, // not 41: so it is in RabbitMQ, and so it stays
		}},
		{"queue", 50, []method{
			{"declare", 10, []field{{"", short}, {"Queue", shortstr}, {"Passive", bit}, {"Durable", bit}, {"Exclusive", bit}, {"AutoDelete", bit}, {"NoWait", bit}, {"Arguments", table}}},
			{"declare-ok", 11, []field{{"Queue", shortstr}, {"MessageCount", long}, {"ConsumerCount", long}}},
			{"bind", 20, []field{{"", short}, {"Queue", shortstr}, {"Exchange", shortstr}, {"RoutingKey", shortstr}, {"NoWait", bit}, {"Arguments", table}}},
			{"bind-ok", 21, nil},
			{"purge", 30, []field{{"", short}, {"Queue", shortstr}, {"NoWait", bit}}},
			{"purge-ok", 31, []field{{"MessageCount", long}}},
			{"delete", 40, []field{{"", short}, {"Queue", shortstr}, {"IfUnused", bit}, {"IfEmpty", bit}, {"NoWait", bit}}},
			{"delete-ok", 41, []field{{"MessageCount", long}}},
			{"unbind", 50, []field{{"", short}, {"Queue", shortstr}, {"Exchange", shortstr}, {"RoutingKey", shortstr}, {"Arguments", table}}},
			{"unbind-ok", 51, nil},
		}},
		{"basic", 60, []method{
			{"qos", 10, []field{{"PrefetchSize", long}, {"PrefetchCount", short}, {"Global", bit}}},
			{"qos-ok", 11, nil},
			{"consume", 20, []field{{"", short}, {"Queue", shortstr}, {"ConsumerTag", shortstr}, {"NoLocal", bit}, {"NoAck", bit}, {"Exclusive", bit}, {"NoWait", bit}, {"Arguments", table}}},
			{"consume-ok", 21, []field{{"ConsumerTag", shortstr}}},
			{"cancel", 30, []field{{"ConsumerTag", shortstr}, {"NoWait", bit}}},
			{"cancel-ok", 31, []field{{"ConsumerTag", shortstr}}},
			{"publish", 40, []field{{"", short}, {"Exchange", view}, {"RoutingKey", view}, {"Mandatory", bit}, {"Immediate", bit}}},
			{"return", 50, []field{{"ReplyCode", short}, {"ReplyText", shortstr}, {"Exchange", view}, {"RoutingKey", view}}},
			{"deliver", 60, []field{{"ConsumerTag", shortstr}, {"DeliveryTag", longlong}, {"Redelivered", bit}, {"Exchange", view}, {"RoutingKey", view}}},
			{"get", 70, []field{{"", short}, {"Queue", shortstr}, {"NoAck", bit}}},
			{"get-ok", 71, []field{{"DeliveryTag", longlong}, {"Redelivered", bit}, {"Exchange", view}, {"RoutingKey", view}, {"MessageCount", long}}},
			{"get-empty", 72, []field{{"", shortstr}}},
			{"ack", 80, []field{{"DeliveryTag", longlong}, {"Multiple", bit}}},
			{"reject", 90, []field{{"DeliveryTag", longlong}, {"Requeue", bit}}},
			{"recover-async", 100, []field{{"Requeue", bit}}},
			{"recover", 110, []field{{"Requeue", bit}}},
			{"recover-ok", 111, nil},
			{"nack", 120, []field{{"DeliveryTag", longlong}, {"Multiple", bit}, {"Requeue", bit}}},
		}},
		{"confirm", 85, []method{
			{"select", 10, []field{{"NoWait", bit}}},
			{"select-ok", 11, nil},
		}},
		{"tx", 90, []method{
			{"select", 10, nil},
			{"select-ok", 11, nil},
			{"commit", 20, nil},
			{"commit-ok", 21, nil},
			{"rollback", 30, nil},
			{"rollback-ok", 31, nil},
		}},
	}
}
