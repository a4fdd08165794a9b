package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/triagemq/triagemq/fsm/content"
)

// The commands of scripts. A line is a verb, words and key=value pairs; a value with spaces is a Go string literal, a table {key=value,key=value}.
//
// Items of the entry:
//
//	open NODE BOOT, origin-down NODE BOOT, tick [+DURATION], mark, level N
//	verify [voters=N] NODE=good|bad …      reports for the last Mark: what the replica really has, or something else
//	batch NODE [boot=N] [seq=N]            begins a batch of this number, which the commands after it join
//	again                                  the entry of the block before once more
//	wait +DURATION                         the entry is of so much later, with no tick
//	quiet                                  of this block's effects print only how many there are
//
// Commands of an origin, addressed [NODE[/BOOT]:]CONN[.CHANNEL[#INCARNATION]] (NODE is the first opened where left out, its newest boot; INCARNATION the
// channel's newest):
//
//	session AT vhost=/ …, channel AT, publish AT key=q body=x …, and so on: see commandOf
//	tx, commit: what stands between them is one transaction
//	times=N repeats a command; {i} in a body is then the number of the repetition
//
// Looking, with no entry:
//
//	show queues|delayed|users|permissions|vhosts|consumers|sessions|origins|counts|time|deadline|level|policies|applied|parameters, probe COMMAND, check, snapshot-restore
//	limits [moves=N] [dead=N]              what an entry moves in bulk, what triagemq.dead holds: low ones make short stories

// scriptLine is a parsed line.
type scriptLine struct {
	verb  string
	words []string
	pairs map[string]string
	used  map[string]bool
}

func parseLine(line string) (*scriptLine, error) {
	l := &scriptLine{pairs: map[string]string{}, used: map[string]bool{}}
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimSpace(rest) {
		token := firstToken(rest)
		rest = rest[len(token):]
		key, value, isPair := strings.Cut(token, "=")
		switch {
		case l.verb == "":
			l.verb = token
		case !isPair:
			l.words = append(l.words, token)
		case strings.HasPrefix(value, `"`):
			unquoted, err := strconv.Unquote(value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", token, err)
			}
			l.pairs[key] = unquoted
		default:
			l.pairs[key] = value
		}
	}
	return l, nil
}

// firstToken ends at the first space outside quotes.
func firstToken(s string) string {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"' && (i == 0 || s[i-1] != '\\'):
			quoted = !quoted
		case s[i] == ' ' && !quoted:
			return s[:i]
		}
	}
	return s
}

func (l *scriptLine) text(key, otherwise string) string {
	l.used[key] = true
	if v, ok := l.pairs[key]; ok {
		return v
	}
	return otherwise
}

func (l *scriptLine) number(key string, otherwise uint64) uint64 {
	v := l.text(key, "")
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s=%s: %v", key, v, err))
	}
	return n
}

// integer may be negative.
func (l *scriptLine) integer(key string) int64 {
	n, err := strconv.ParseInt(l.text(key, "0"), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (l *scriptLine) has(flag string) bool {
	l.used[flag] = true
	return slices.Contains(l.words, flag)
}

func (l *scriptLine) table(key string) []byte {
	v := l.text(key, "")
	if v == "" {
		return nil
	}
	return parseTable(v).Append(nil)
}

// parseTable reads {a=1,b=true,c=text,d="quoted",e=[1,2]}; integers become int32 where they fit.
func parseTable(s string) (table content.Table) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}")
	for _, field := range splitList(s) {
		name, value, _ := strings.Cut(field, "=")
		table = append(table, content.Field{Name: name, Value: parseValue(value)})
	}
	return table
}

// splitList splits at the commas outside brackets.
func splitList(s string) (fields []string) {
	depth, start := 0, 0
	for i, r := range s + "," {
		switch {
		case r == '{' || r == '[':
			depth++
		case r == '}' || r == ']':
			depth--
		case r == ',' && depth == 0:
			if i > start {
				fields = append(fields, s[start:i])
			}
			start = i + 1
		}
	}
	return fields
}

func parseValue(s string) any {
	switch {
	case s == "true" || s == "false":
		return s == "true"
	case s == "void":
		return nil
	case strings.HasPrefix(s, "{"):
		return parseTable(s)
	case strings.HasPrefix(s, "["):
		var a content.Array
		for _, v := range splitList(s[1 : len(s)-1]) {
			a = append(a, parseValue(v))
		}
		return a
	}
	if digits, ok := strings.CutSuffix(s, "L"); ok {
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil {
			return n
		}
	}
	if n, err := strconv.ParseInt(s, 10, 32); err == nil {
		return int32(n)
	}
	return s
}

// scriptOrigins finds every origin that a script opens.
func scriptOrigins(blocks []scriptBlock) (origins []Origin) {
	for _, b := range blocks {
		for _, line := range b.commands {
			if l, err := parseLine(line); err == nil && l.verb == "open" {
				if o := parseOrigin(l.words); !slices.Contains(origins, o) {
					origins = append(origins, o)
				}
			}
		}
	}
	return origins
}

func parseOrigin(words []string) Origin {
	boot, err := strconv.ParseUint(words[1], 10, 64)
	if err != nil {
		panic(err)
	}
	return Origin{Node: words[0], Boot: boot}
}

// run applies the commands of a block as one entry and returns the output.
func (c *scriptCluster) run(commands []string) (output string) {
	e := entryBuilder{cluster: c}
	for _, line := range commands {
		l, err := parseLine(line)
		if err != nil {
			c.t.Fatalf("%s: %v", c.at, err)
		}
		looked, ok := c.look(l, line)
		output += looked
		switch {
		case !ok:
			e.add(l)
		case len(commands) > 1:
			c.t.Fatalf("%s: %q looks at the state and wants a block of its own", c.at, line)
		}
		c.refuseUnused(l, line)
	}
	if entry := e.entry(); entry != nil {
		c.lastEntry = entry
		effects := c.apply(entry)
		if e.quiet {
			effects = fmt.Sprintf("%d effects\n", strings.Count(effects, "\n"))
		}
		output += effects
	}
	return output
}

// refuseUnused finds misspelt keys, which would silently test something else.
func (c *scriptCluster) refuseUnused(l *scriptLine, line string) {
	for key := range l.pairs {
		if !l.used[key] && l.verb != "verify" && l.verb != "probe" {
			c.t.Fatalf("%s: %q does not know %s", c.at, line, key)
		}
	}
}

// entryBuilder collects items; consecutive commands of one origin share a batch.
type entryBuilder struct {
	cluster  *scriptCluster
	items    [][]byte
	origin   Origin
	seq      uint64
	commands []byte
	open     bool // a batch is being filled
	whole    []byte
	quiet    bool

	tx       bool // what follows goes into a transaction
	txRef    Ref
	txBuffer []byte
}

func (e *entryBuilder) add(l *scriptLine) {
	c := e.cluster
	switch l.verb {
	case "open":
		e.item(AppendOriginOpen(nil, parseOrigin(l.words)))
	case "origin-down":
		e.item(AppendOriginDown(nil, parseOrigin(l.words)))
	case "tick":
		c.advance(l)
		e.item(AppendTick(nil))
	case "wait":
		c.advance(l)
	case "mark":
		e.item(AppendMark(nil))
	case "level":
		level, _ := strconv.ParseUint(l.words[0], 10, 32)
		e.item(AppendFeatureLevel(nil, uint32(level)))
	case "verify":
		e.item(c.verify(l))
	case "batch":
		o := c.origin(l.words[0])
		e.begin(o, l.number("seq", c.lastSeq[o]+1))
	case "again":
		e.whole = c.lastEntry
	case "quiet":
		e.quiet = true
	case "tx":
		e.tx = true
	case "commit":
		e.commit()
	default:
		e.command(l)
	}
}

func (e *entryBuilder) command(l *scriptLine) {
	if len(l.words) == 0 {
		e.cluster.t.Fatalf("%s: %s where?", e.cluster.at, l.verb)
	}
	origin, ref := e.cluster.ref(l.words[0], l.verb == "channel")
	if !e.open || e.origin != origin {
		e.begin(origin, e.cluster.lastSeq[origin]+1)
	}
	for i := range l.number("times", 1) {
		command := commandOf(l, ref)
		if command == nil {
			e.cluster.t.Fatalf("%s: unknown command %s", e.cluster.at, l.verb)
		}
		if p, ok := command.(*Publish); ok {
			p.Body = bytes.ReplaceAll(p.Body, []byte("{i}"), strconv.AppendUint(nil, i+1, 10))
		}
		if e.tx {
			e.txRef, e.txBuffer = ref, command.Append(e.txBuffer)
			continue
		}
		e.commands = command.Append(e.commands)
	}
}

// commit ends a transaction, which is one command.
func (e *entryBuilder) commit() {
	e.commands = (&Tx{Ref: e.txRef, Commands: e.txBuffer}).Append(e.commands)
	e.tx, e.txBuffer = false, nil
}

func (e *entryBuilder) begin(o Origin, seq uint64) {
	e.end()
	e.origin, e.seq, e.open = o, seq, true
	if seq == e.cluster.lastSeq[o]+1 {
		e.cluster.lastSeq[o] = seq
	}
}

func (e *entryBuilder) end() {
	if e.open {
		e.items = append(e.items, AppendBatch(nil, e.origin, e.seq, e.commands))
	}
	e.open, e.commands = false, nil
}

func (e *entryBuilder) item(b []byte) {
	e.end()
	e.items = append(e.items, b)
}

// entry returns what was collected, nil where that is nothing. Everything must pass the leader's check.
func (e *entryBuilder) entry() []byte {
	e.end()
	if e.whole != nil {
		return e.whole
	}
	if len(e.items) == 0 {
		return nil
	}
	for _, b := range e.items {
		if err := CheckItem(b); err != nil {
			e.cluster.t.Fatalf("%s: %v", e.cluster.at, err)
		}
	}
	return AppendEntry(nil, e.cluster.nowMillis, e.items)
}

func (c *scriptCluster) advance(l *scriptLine) {
	for _, word := range l.words {
		by, err := time.ParseDuration(strings.TrimPrefix(word, "+"))
		if err != nil {
			c.t.Fatalf("%s: %v", c.at, err)
		}
		c.nowMillis += by.Milliseconds()
	}
}

func (c *scriptCluster) verify(l *scriptLine) []byte {
	index, good := c.replicas[0].state.Marked()
	var reports []DigestReport
	for node, verdict := range l.pairs {
		report := DigestReport{Node: node, Hash: good}
		if node == "voters" {
			continue
		}
		if verdict != "good" {
			copy(report.Hash[:], verdict+"................")
		}
		reports = append(reports, report)
	}
	if l.has("stale") {
		index--
	}
	return AppendVerify(nil, index, int(l.number("voters", 3)), reports)
}

// origin finds NODE or NODE/BOOT.
func (c *scriptCluster) origin(s string) Origin {
	node, boot, given := strings.Cut(s, "/")
	found := Origin{Node: node}
	for _, o := range c.origins {
		if o.Node == node && (given && strconv.FormatUint(o.Boot, 10) == boot || !given && c.opened(o)) {
			found = o
		}
	}
	if found.Boot == 0 {
		c.t.Fatalf("%s: nobody opens %s", c.at, s)
	}
	return found
}

// opened says whether a boot is the first of its node or was opened already, so that a script's later boots do not matter before they come.
func (c *scriptCluster) opened(o Origin) bool {
	first := slices.IndexFunc(c.origins, func(other Origin) bool { return other.Node == o.Node })
	info, ok := c.replicas[0].state.Origin(o.Node)
	return c.origins[first] == o || ok && info.Boot >= o.Boot
}

// ref reads an address; fresh gives the channel a new incarnation.
func (c *scriptCluster) ref(s string, fresh bool) (Origin, Ref) {
	origin := c.origins[0]
	if node, rest, ok := strings.Cut(s, ":"); ok {
		origin, s = c.origin(node), rest
	} else {
		origin = c.origin(origin.Node)
	}
	s, incarnation, given := strings.Cut(s, "#")
	conn, channel, _ := strings.Cut(s, ".")
	ref := Ref{Conn: parseUint32(conn), Channel: uint16(parseUint32(channel))}
	at := channelOf{origin, ref.Conn, ref.Channel}
	switch last := (channelOf{origin, ref.Conn, 0}); {
	case given:
		ref.Incarnation = parseUint32(incarnation)
	case fresh:
		c.lastOf[last]++
		ref.Incarnation = c.lastOf[last]
	default:
		ref.Incarnation = c.incarnations[at]
	}
	if fresh {
		c.incarnations[at] = ref.Incarnation
	}
	return origin, ref
}

func parseUint32(s string) uint32 {
	n, err := strconv.ParseUint("0"+s, 10, 32)
	if err != nil {
		panic(err)
	}
	return uint32(n)
}

// commandOf builds a command of an origin.
func commandOf(l *scriptLine, ref Ref) Command {
	name := l.text("name", "")
	if len(l.words) > 1 && name == "" {
		name = l.words[1] // declare-queue 1.1 q
	}
	switch l.verb {
	case "session":
		return &OpenSession{Ref: ref, VHost: l.text("vhost", "/"), User: l.text("user", "guest"), Name: l.text("name", "client"), CancelNotify: l.has("cancel-notify")}
	case "close-session":
		return &CloseSession{Ref: ref}
	case "channel":
		return &OpenChannel{Ref: ref}
	case "close-channel":
		return &CloseChannel{Ref: ref}
	case "put-policy":
		return &PutPolicy{Ref: ref, VHost: l.text("vhost", "/"), Name: name, Operator: l.has("operator"), Pattern: l.text("pattern", ""),
			ApplyTo: l.text("apply-to", "all"), Priority: l.integer("priority"), Definition: l.table("definition")}
	case "delete-policy":
		return &DeletePolicy{Ref: ref, VHost: l.text("vhost", "/"), Name: name, Operator: l.has("operator")}
	case "put-parameter":
		return &PutParameter{Ref: ref, VHost: l.text("vhost", ""), Component: l.text("component", ""), Name: name, Value: []byte(l.text("value", "null"))}
	case "delete-parameter":
		return &DeleteParameter{Ref: ref, VHost: l.text("vhost", ""), Component: l.text("component", ""), Name: name}
	case "declare-exchange":
		return &DeclareExchange{Ref: ref, Name: name, Type: l.text("type", "direct"), Passive: l.has("passive"), Durable: !l.has("transient"),
			AutoDelete: l.has("auto-delete"), Internal: l.has("internal"), NoWait: l.has("no-wait"), Arguments: l.table("args")}
	case "delete-exchange":
		return &DeleteExchange{Ref: ref, Name: name, IfUnused: l.has("if-unused"), NoWait: l.has("no-wait")}
	case "declare-queue":
		return &DeclareQueue{Ref: ref, Name: name, Passive: l.has("passive"), Durable: !l.has("transient"), Exclusive: l.has("exclusive"),
			AutoDelete: l.has("auto-delete"), NoWait: l.has("no-wait"), ServerNamed: l.has("server-named"), Arguments: l.table("args")}
	case "delete-queue":
		return &DeleteQueue{Ref: ref, Name: name, IfUnused: l.has("if-unused"), IfEmpty: l.has("if-empty"), NoWait: l.has("no-wait")}
	case "purge":
		return &PurgeQueue{Ref: ref, Name: name, NoWait: l.has("no-wait")}
	case "bind", "bind-exchange":
		return &Bind{Ref: ref, Source: l.text("source", ""), Destination: name, ToExchange: l.verb == "bind-exchange",
			Key: l.text("key", ""), Arguments: l.table("args"), NoWait: l.has("no-wait")}
	case "unbind", "unbind-exchange":
		return &Unbind{Ref: ref, Source: l.text("source", ""), Destination: name, ToExchange: l.verb == "unbind-exchange",
			Key: l.text("key", ""), Arguments: l.table("args"), NoWait: l.has("no-wait")}
	}
	return basicCommandOf(l, ref, name)
}

func basicCommandOf(l *scriptLine, ref Ref, name string) Command {
	switch l.verb {
	case "publish":
		return publishOf(l, ref)
	case "get":
		return &Get{Ref: ref, Queue: name, NoAck: l.has("no-ack")}
	case "consume":
		return &Consume{Ref: ref, Queue: name, Tag: l.text("tag", "c"), NoAck: l.has("no-ack"), Exclusive: l.has("exclusive"), NoWait: l.has("no-wait"),
			Arguments: l.table("args"), GrantMessages: uint32(l.number("messages", 1000)), GrantBytes: uint32(l.number("bytes", 1<<20))}
	case "cancel":
		return &Cancel{Ref: ref, Tag: name, NoWait: l.has("no-wait")}
	case "qos":
		return &SetQos{Ref: ref, Count: uint16(l.number("count", 0)), Global: l.has("global")}
	case "grant":
		return &Grant{Ref: ref, Tag: name, Messages: uint32(l.number("messages", 0)), Bytes: uint32(l.number("bytes", 0))}
	case "ack":
		return &Ack{Ref: ref, Tag: l.number("tag", 0), Multiple: l.has("multiple")}
	case "nack":
		return &Nack{Ref: ref, Tag: l.number("tag", 0), Multiple: l.has("multiple"), Requeue: l.has("requeue")}
	case "recover":
		return &Recover{Ref: ref}
	}
	return operatorCommandOf(l, ref, name)
}

// publishOf builds a message: body=TEXT, or body=TEXT size=N for the text repeated up to that many bytes.
func publishOf(l *scriptLine, ref Ref) Command {
	p := content.Properties{}
	if v, ok := l.pairs["priority"]; ok {
		p.Has |= content.HasPriority
		p.Priority = uint8(parseUint32(v))
	}
	if v, ok := l.pairs["headers"]; ok {
		p.Has |= content.HasHeaders
		p.Headers = parseTable(v)
	}
	if v, ok := l.pairs["expiration"]; ok {
		p.Has |= content.HasExpiration
		p.Expiration = v
	}
	if v, ok := l.pairs["message-id"]; ok {
		p.Has |= content.HasMessageID
		p.MessageID = v
	}
	for _, key := range []string{"priority", "headers", "expiration", "message-id"} {
		l.used[key] = true
	}
	body := []byte(l.text("body", ""))
	if size := int(l.number("size", 0)); size > 0 {
		body = bytes.Repeat(append(body, '.'), size)[:size]
	}
	return &Publish{Ref: ref, Exchange: []byte(l.text("exchange", "")), RoutingKey: []byte(l.text("key", "")), Mandatory: l.has("mandatory"),
		Confirm: l.number("confirm", 0), Priority: p.Priority, Properties: p.Append(nil), Body: body}
}
