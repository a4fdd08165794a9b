package fsm

import (
	"fmt"
	"strconv"
	"strings"
)

// operatorCommandOf builds a command about virtual hosts, users and what they may do.
func operatorCommandOf(l *scriptLine, ref Ref, name string) Command {
	vhost := l.text("vhost", "/")
	switch l.verb {
	case "put-vhost":
		return &PutVHost{Ref: ref, Name: name, Description: l.text("description", ""), DefaultQueueType: l.text("type", ""),
			Creator: l.text("creator", ""), Tags: l.list("tags")}
	case "delete-vhost":
		return &DeleteVHost{Ref: ref, Name: name}
	case "vhost-limits":
		return &PutVHostLimits{Ref: ref, VHost: name, MaxConnections: l.limit("connections"), MaxQueues: l.limit("queues")}
	case "end-session":
		return &EndSession{Ref: ref, Node: l.text("node", "n1"), Boot: l.number("boot", 1), Conn: uint32(l.number("conn", 0)), Reason: l.text("reason", "")}
	case "init-users":
		return &InitUsers{Ref: ref, Name: name, Hash: l.text("hash", ""), Algorithm: l.text("algorithm", "")}
	case "put-user":
		return &PutUser{Ref: ref, Name: name, Hash: l.text("hash", ""), Algorithm: l.text("algorithm", ""), Tags: l.list("tags")}
	case "delete-user":
		return &DeleteUser{Ref: ref, Name: name}
	case "user-limits":
		return &PutUserLimits{Ref: ref, User: name, MaxConnections: l.limit("connections"), MaxChannels: l.limit("channels")}
	case "permit":
		return &PutPermission{Ref: ref, VHost: vhost, User: name, Configure: l.text("configure", ""), Write: l.text("write", ""), Read: l.text("read", "")}
	case "forbid":
		return &DeletePermission{Ref: ref, VHost: vhost, User: name}
	case "permit-topic":
		return &PutTopicPermission{Ref: ref, VHost: vhost, User: name, Exchange: l.text("exchange", ""), Write: l.text("write", ""), Read: l.text("read", "")}
	case "forbid-topic":
		return &DeleteTopicPermission{Ref: ref, VHost: vhost, User: name, Exchange: l.text("exchange", ""), AllExchanges: l.has("all")}
	}
	return nil
}

func (l *scriptLine) list(key string) []string {
	if v := l.text(key, ""); v != "" {
		return strings.Split(v, ",")
	}
	return nil
}

// limit reads a number; a limit that is not given is none.
func (l *scriptLine) limit(key string) int64 {
	n, err := strconv.ParseInt(l.text(key, "-1"), 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func showAuth(s *State, what string) string {
	var text strings.Builder
	switch what {
	case "users":
		for _, u := range s.Users() {
			fmt.Fprintf(&text, "%s hash=%q algorithm=%q tags=%v connections=%d/%d channels=%d/%d\n", u.Name, u.Hash, u.Algorithm, u.Tags,
				u.Connections, u.MaxConnections, u.Channels, u.MaxChannels)
		}
	case "permissions":
		for _, p := range s.Permissions() {
			fmt.Fprintf(&text, "%s%s configure=%q write=%q read=%q\n", inVHost(p.VHost), p.User, p.Configure, p.Write, p.Read)
		}
		for _, p := range s.TopicPermissions() {
			fmt.Fprintf(&text, "%s%s topic %s write=%q read=%q\n", inVHost(p.VHost), p.User, p.Exchange, p.Write, p.Read)
		}
	case "vhosts":
		for _, v := range s.VHosts() {
			fmt.Fprintf(&text, "%s %q type=%q tags=%v connections=%d/%d queues=%d/%d\n", v.Name, v.Description, v.DefaultQueueType, v.Tags,
				v.Connections, v.MaxConnections, v.Queues, v.MaxQueues)
		}
	}
	return text.String()
}
