package fsm

import (
	"fmt"
	"strings"

	"github.com/triagemq/triagemq/fsm/content"
)

// describeEffect prints an effect in a line.
func describeEffect(e *Effect) string {
	switch e.Kind {
	case Replied:
		return at(e.Ref) + "ok " + e.Command.String() + describeReply(e)
	case Published:
		if e.Code != OK {
			return fmt.Sprintf("%snacked %d: %s", at(e.Ref), e.Confirm, describeCode(e))
		}
		return fmt.Sprintf("%sconfirmed %d", at(e.Ref), e.Confirm)
	case Returned:
		return at(e.Ref) + "returned" + describeContent(e)
	case Delivered:
		return at(e.Ref) + describeDelivery(e)
	case ConsumerCancelled:
		return at(e.Ref) + "consumer cancelled " + e.Consumer
	case ChannelFailed:
		return fmt.Sprintf("%schannel failed%s: %s", at(e.Ref), byCommand(e), describeCode(e))
	case SessionFailed:
		return fmt.Sprintf("%ssession failed%s: %s", at(e.Ref), byCommand(e), describeCode(e))
	case OriginOpened:
		return "origin opened"
	case OriginClosed:
		return "origin closed"
	case BatchApplied:
		return fmt.Sprintf("batch %d applied", e.Seq)
	case BatchGap:
		return fmt.Sprintf("batch gap, expected %d", e.Seq)
	case Outvoted:
		return "outvoted"
	case Undecided:
		return "undecided"
	}
	return fmt.Sprintf("effect of unknown kind %d", e.Kind)
}

// at is conn.channel, with the incarnation where it is not the connection's first.
func at(ref Ref) string {
	switch {
	case ref.Conn == 0:
		return fmt.Sprintf("call %d ", ref.Incarnation)
	case ref.Channel == 0:
		return fmt.Sprintf("%d ", ref.Conn)
	case ref.Incarnation > 1:
		return fmt.Sprintf("%d.%d#%d ", ref.Conn, ref.Channel, ref.Incarnation)
	}
	return fmt.Sprintf("%d.%d ", ref.Conn, ref.Channel)
}

// byCommand names the command that failed; a time-out is nobody's.
func byCommand(e *Effect) string {
	if e.Command == 0 {
		return ""
	}
	return " by " + e.Command.String()
}

func describeCode(e *Effect) string {
	return fmt.Sprintf("%s, %s", codeNames[e.Code], strings.ReplaceAll(e.Text, "\n", `\n`)) // a line of output is one effect
}

var codeNames = [...]string{
	OK: "OK", NotFound: "NotFound", AccessRefused: "AccessRefused", ResourceLocked: "ResourceLocked", PreconditionFailed: "PreconditionFailed",
	NotAllowed: "NotAllowed", NotImplemented: "NotImplemented", ResourceError: "ResourceError", FrameTooLarge: "FrameTooLarge", Forced: "Forced",
}

func describeReply(e *Effect) string {
	switch e.Command {
	case KindDeclareQueue:
		return fmt.Sprintf(" %s ready=%d consumers=%d", e.Queue, e.Count, e.Consumers)
	case KindDeleteQueue, KindPurgeQueue:
		return fmt.Sprintf(" messages=%d", e.Count)
	case KindConsume, KindCancel:
		return " " + e.Consumer
	case KindGet:
		if e.Empty {
			return " empty"
		}
	}
	if e.Code != OK {
		return " " + describeCode(e)
	}
	return ""
}

func describeDelivery(e *Effect) string {
	var text strings.Builder
	if e.Get {
		fmt.Fprintf(&text, "got tag=%d left=%d", e.Tag, e.Count)
	} else {
		fmt.Fprintf(&text, "delivered to %s tag=%d", e.Consumer, e.Tag)
	}
	if e.Redelivered {
		text.WriteString(" redelivered")
	}
	if e.Deliveries > 0 {
		fmt.Fprintf(&text, " deliveries=%d", e.Deliveries)
	}
	return text.String() + describeContent(e)
}

func describeContent(e *Effect) string {
	var text strings.Builder
	if len(e.Exchange) > 0 {
		fmt.Fprintf(&text, " exchange=%s", e.Exchange)
	}
	fmt.Fprintf(&text, " key=%s", e.RoutingKey)
	p, err := content.DecodeProperties(e.Properties)
	if err != nil {
		fmt.Fprintf(&text, " DAMAGED PROPERTIES %v", err)
	}
	if p.Has&content.HasPriority != 0 {
		fmt.Fprintf(&text, " priority=%d", p.Priority)
	}
	if p.Has&content.HasExpiration != 0 {
		fmt.Fprintf(&text, " expiration=%s", p.Expiration)
	}
	if p.Has&content.HasMessageID != 0 {
		fmt.Fprintf(&text, " message-id=%s", p.MessageID)
	}
	if p.Has&content.HasHeaders != 0 {
		fmt.Fprintf(&text, " headers=%s", describeValue(p.Headers))
	}
	if len(e.Body) > 40 {
		fmt.Fprintf(&text, " body=%q… of %d bytes", e.Body[:12], len(e.Body))
	} else {
		fmt.Fprintf(&text, " body=%q", e.Body)
	}
	return text.String()
}

func describeValue(v any) string {
	var parts []string
	switch v := v.(type) {
	case content.Table:
		for _, f := range v {
			parts = append(parts, f.Name+"="+describeValue(f.Value))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case content.Array:
		for _, e := range v {
			parts = append(parts, describeValue(e))
		}
		return "[" + strings.Join(parts, ",") + "]"
	case content.Timestamp:
		return fmt.Sprintf("@%d", v)
	case int64:
		return fmt.Sprintf("%dL", v)
	}
	return fmt.Sprint(v)
}

// look runs a line that makes no entry; ok is false where it is not one.
func (c *scriptCluster) look(l *scriptLine, line string) (output string, ok bool) {
	s := c.replicas[0].state
	switch l.verb {
	case "show":
		return c.show(s, l), true
	case "probe":
		return c.probe(strings.TrimPrefix(line, "probe ")), true
	case "limits":
		c.limits.bulkMoves = int(l.number("moves", uint64(c.limits.bulkMoves)))
		c.limits.deadQueueMessages = int(l.number("dead", uint64(c.limits.deadQueueMessages)))
		for _, r := range c.replicas {
			r.state.limits = c.limits
		}
		return "", true
	case "snapshot-restore":
		for _, r := range c.replicas {
			c.restore(r, c.snapshot(r.state))
		}
		return "", true
	case "check":
		for _, r := range c.replicas {
			if err := r.state.Check(); err != nil {
				c.t.Fatalf("%s: %s: %v", c.at, r.name(), err)
			}
		}
		return "", true
	}
	return "", false
}

func (c *scriptCluster) show(s *State, l *scriptLine) string {
	var text strings.Builder
	switch l.words[0] {
	case "queues":
		for _, q := range s.Queues(l.text("vhost", "")) {
			fmt.Fprintf(&text, "%s%s ready=%d held=%d bytes=%d consumers=%d%s\n", inVHost(q.VHost), q.Name, q.Ready, q.Held, q.Bytes, q.Consumers,
				flagNames("transient", !q.Durable, "exclusive", q.Exclusive, "auto-delete", q.AutoDelete, "owner="+q.Owner, q.Owner != "",
					fmt.Sprint("delayed=", q.Delayed), q.Delayed > 0))
		}
	case "delayed":
		for _, x := range s.Exchanges("") {
			if x.Type == DelayedExchangeType {
				fmt.Fprintf(&text, "%s delayed=%d\n", x.Name, x.Delayed)
			}
		}
	case "consumers":
		for _, consumer := range s.gather().consumers {
			fmt.Fprintf(&text, "%s %s%s priority=%d held=%d%s\n", consumer.queue.name, at(consumer.channel.ref()), consumer.tag, consumer.priority,
				consumer.held, flagNames("active", consumer.isActive(), "stands-by", consumer.standsBy))
		}
	case "policies":
		for _, operator := range []bool{false, true} {
			for _, p := range s.Policies("", operator) {
				fmt.Fprintf(&text, "%s%s pattern=%q apply-to=%s priority=%d %s%s\n", inVHost(p.VHost), p.Name, p.Pattern, p.ApplyTo, p.Priority,
					describeValue(tableOf(p.Definition)), flagNames("operator", operator))
			}
		}
	case "applied":
		showApplied(&text, s)
	case "parameters":
		for _, p := range append(s.GlobalParameters(), s.Parameters("", "")...) {
			fmt.Fprintf(&text, "%s%s %s = %s\n", inVHost(p.VHost), p.Component, p.Name, p.Value)
		}
	case "sessions":
		for _, v := range s.Sessions() {
			fmt.Fprintf(&text, "%s: %d vhost=%s user=%s name=%s channels=%d\n", originName(v.Origin), v.Conn, v.VHost, v.User, v.Name, v.Channels)
		}
	case "origins":
		for _, o := range s.Origins() {
			fmt.Fprintf(&text, "%s boot=%d open=%v last=%d\n", o.Node, o.Boot, o.Open, o.Last)
		}
	case "counts":
		fmt.Fprintf(&text, "%+v\n", s.Counts())
	case "time":
		fmt.Fprintf(&text, "+%.3fs\n", float64(s.NowMillis()-scriptStartMillis)/1000)
	case "deadline":
		millis, ok := s.NextDeadline()
		if !ok {
			return "none\n"
		}
		fmt.Fprintf(&text, "+%.3fs\n", float64(millis-scriptStartMillis)/1000)
	case "level":
		fmt.Fprintf(&text, "%d\n", s.FeatureLevel())
	case "users", "permissions", "vhosts":
		text.WriteString(showAuth(s, l.words[0]))
	default:
		c.t.Fatalf("%s: show what?", c.at)
	}
	if text.Len() == 0 {
		return "none\n"
	}
	return text.String()
}

// showApplied prints the queues and exchanges that policies govern.
func showApplied(text *strings.Builder, s *State) {
	print := func(name string, a AppliedPolicy) {
		if a.Definition != nil {
			fmt.Fprintf(text, "%s policy=%s operator=%s %s\n", name, a.Policy, a.OperatorPolicy, describeValue(tableOf(a.Definition)))
		}
	}
	for _, q := range s.Queues("") {
		print("queue "+inVHost(q.VHost)+q.Name, q.Policy)
	}
	for _, x := range s.gather().exchanges {
		print("exchange "+inVHost(x.vhost.name)+x.name, s.ExchangePolicy(x.vhost.name, x.name))
	}
}

func inVHost(vhost string) string {
	if vhost == "/" {
		return ""
	}
	return vhost + ": "
}

func flagNames(pairs ...any) (text string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1].(bool) {
			text += " " + pairs[i].(string)
		}
	}
	return text
}

// probe asks every replica, which must answer alike.
func (c *scriptCluster) probe(line string) (output string) {
	l, err := parseLine(line)
	if err != nil {
		c.t.Fatalf("%s: %v", c.at, err)
	}
	origin, ref := c.ref(l.words[0], false)
	command := commandOf(l, ref).Append(nil)
	for i, r := range c.replicas {
		got := "no\n"
		if reply, ok := r.state.Probe(origin, command); ok {
			got = describeEffect(&reply) + "\n"
		}
		if i > 0 && got != output {
			c.t.Fatalf("%s: %s answers %q, the first %q", c.at, r.name(), got, output)
		}
		output = got
	}
	return output
}
