package offline

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// commandInfo is a command with its arguments, for people and as JSON.
type commandInfo struct {
	Kind        string         `json:"kind"`
	Bytes       int            `json:"bytes"`
	Connection  uint32         `json:"connection,omitempty"` // the Ref: a call of an operator has connection 0 and its number as incarnation
	Channel     uint16         `json:"channel,omitempty"`
	Incarnation uint32         `json:"incarnation,omitempty"`
	Arguments   map[string]any `json:"arguments,omitempty"` // by field of the fsm command; what is zero is left out
	Commands    []commandInfo  `json:"commands,omitempty"`  // of a transaction
	order       []string       // of Arguments
}

// describeCommand shows a command's fields. Bodies appear on request, hashes of passwords never.
func describeCommand(c *fsm.CommandInfo, bodies bool) commandInfo {
	info := commandInfo{Kind: c.Kind.String(), Bytes: c.SizeBytes, Arguments: map[string]any{}}
	v := reflect.ValueOf(c.Command).Elem()
	for i := range v.NumField() {
		name, field := v.Type().Field(i).Name, v.Field(i)
		switch value := field.Interface().(type) {
		case fsm.Ref:
			info.Connection, info.Channel, info.Incarnation = value.Conn, value.Channel, value.Incarnation
			continue
		case []byte:
			if tx, ok := c.Command.(*fsm.Tx); ok {
				info.transaction(tx, bodies)
			} else {
				info.add(name, describeBytes(name, value, bodies))
			}
			continue
		}
		switch {
		case field.IsZero():
		case name == "Hash":
			info.add(name, "(hidden)")
		default:
			info.add(name, field.Interface())
		}
	}
	return info
}

func (i *commandInfo) add(name string, value any) {
	if value != nil {
		i.order = append(i.order, name)
		i.Arguments[name] = value
	}
}

func (i *commandInfo) transaction(tx *fsm.Tx, bodies bool) {
	commands, err := fsm.DecodeCommands(tx.Commands)
	for _, c := range commands {
		i.Commands = append(i.Commands, describeCommand(&c, bodies))
	}
	if err != nil {
		i.add("Fault", err.Error())
	}
}

// describeBytes shows a field of bytes by its name; nil is not worth showing.
func describeBytes(name string, b []byte, bodies bool) any {
	switch {
	case name == "Body" && !bodies:
		return fmt.Sprintf("(%d bytes)", len(b))
	case len(b) == 0:
		return nil
	case name == "Arguments" || name == "Details" || name == "Definition":
		if t, _, err := content.DecodeTable(b); err == nil {
			return describeTable(t)
		}
	case name == "Properties":
		if p, err := content.DecodeProperties(b); err == nil {
			return describeProperties(p)
		}
	case name == "Value":
		if json.Valid(b) {
			return json.RawMessage(b)
		}
	}
	return text(b)
}

// text is bytes as a string where they are one, else in hexadecimal.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return fmt.Sprintf("0x%x", b)
}

// printCommand writes a command in a line, and those of a transaction below it.
func printCommand(w io.Writer, c *commandInfo, indent string) {
	fmt.Fprintf(w, "%s%s", indent, c.Kind)
	switch {
	case c.Channel != 0:
		fmt.Fprintf(w, " on %d.%d", c.Connection, c.Channel)
		if c.Incarnation > 1 {
			fmt.Fprintf(w, "#%d", c.Incarnation)
		}
	case c.Connection != 0:
		fmt.Fprintf(w, " on %d", c.Connection)
	}
	var args []string
	for _, name := range c.order {
		args = append(args, name+"="+printed(c.Arguments[name]))
	}
	fmt.Fprintf(w, " %s, %d bytes\n", strings.Join(args, " "), c.Bytes)
	for _, sub := range c.Commands {
		printCommand(w, &sub, indent+"  ")
	}
}

// printed is a value without line breaks.
func printed(value any) string {
	switch v := value.(type) {
	case string:
		if q := strconv.Quote(v); len(q) > len(v)+2 || v == "" || strings.Contains(v, " ") {
			return q
		}
		return v
	case json.RawMessage:
		return string(v)
	}
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprintf("%v", value)
	}
	return string(b)
}
