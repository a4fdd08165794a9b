package http

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// request is one call of the management API.
type request struct {
	server  *Server
	http    *nethttp.Request
	args    map[string]string // of the path
	query   url.Values
	who     broker.Identity
	entered map[string]bool // virtual hosts in which the user has permissions; nil: not asked yet

	reserved int // bytes of the server's bodies
}

func (r *request) ctx() context.Context { return r.http.Context() }

func (r *request) vhost() string { return r.args["vhost"] }

// view runs f with this node's state; see broker.Node.View.
func (r *request) view(f func(s *fsm.State)) { r.server.broker.View(f) }

// body decodes the request's body as a JSON object. An empty one is an empty object.
func (r *request) body() (fields, error) {
	b, err := r.raw()
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return fields{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	f := fields{}
	if d.Decode(&f) != nil || d.More() || f == nil {
		return nil, badRequest("not_json")
	}
	return f, nil
}

// mayDeclare refuses what would stay in memory while that is short.
func (r *request) mayDeclare() error {
	if r.server.broker.MemoryShort() {
		return unavailable("this node is short of memory: nothing can be declared until some is free")
	}
	return nil
}

// fields are those of a JSON object that came in. Numbers are json.Number.
type fields map[string]any

// needs reports the keys that are missing, in RabbitMQ's form.
func (f fields) needs(keys ...string) error {
	var missing []string
	for _, key := range keys {
		if _, has := f[key]; !has {
			missing = append(missing, "{key_missing,"+key+"}")
		}
	}
	if len(missing) > 0 {
		return badRequest("[" + strings.Join(missing, ",") + "]")
	}
	return nil
}

// bool is false where the key is missing; the words true and false count too.
func (f fields) bool(key string, absent bool) (bool, error) {
	switch v := f[key].(type) {
	case nil:
		return absent, nil
	case bool:
		return v, nil
	case string:
		if v == "true" || v == "false" {
			return v == "true", nil
		}
	}
	return false, badRequest([]any{"not_boolean", f[key]})
}

// text is "" where the key is missing.
func (f fields) text(key string) (string, error) {
	switch v := f[key].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", badRequest([]any{"not_string", key})
}

// name is a text of AMQP: at most 255 bytes.
func (f fields) name(key string) (string, error) {
	v, err := f.text(key)
	if err == nil && len(v) > fsm.ShortStringBytesMax {
		err = badRequest(fmt.Sprintf("%s is longer than %d bytes", key, fsm.ShortStringBytesMax))
	}
	return v, err
}

// integer takes numbers and their texts.
func (f fields) integer(key string, absent int64) (int64, error) {
	switch v := f[key].(type) {
	case nil:
		return absent, nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, badRequest([]any{"not_int", key})
}

// object is nil where the key is missing; an empty array counts as an empty object, as PHP and Erlang write it.
func (f fields) object(key string) (fields, error) {
	switch v := f[key].(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return v, nil
	case []any:
		if len(v) == 0 {
			return fields{}, nil
		}
	}
	return nil, badRequest([]any{"not_object", key})
}

// table is the encoded field table under a key.
func (f fields) table(key string) ([]byte, error) {
	o, err := f.object(key)
	if err != nil {
		return nil, err
	}
	return encodedTable(o)
}

// objects is a list of objects, nil where the key is missing.
func (f fields) objects(key string) ([]fields, error) {
	if f[key] == nil {
		return nil, nil
	}
	list, isList := f[key].([]any)
	if !isList {
		return nil, badRequest([]any{"not_list", key})
	}
	out := make([]fields, len(list))
	for i := range list {
		o, isObject := list[i].(map[string]any)
		if !isObject {
			return nil, badRequest([]any{"not_object", key})
		}
		out[i] = o
	}
	return out, nil
}

// tags is a list of words: an array, or a text with commas. ok is false where the key is missing.
func (f fields) tags(key string) (tags []string, ok bool, err error) {
	switch v := f[key].(type) {
	case nil:
		return nil, false, nil
	case string:
		for word := range strings.SplitSeq(v, ",") {
			if word = strings.TrimSpace(word); word != "" {
				tags = append(tags, word)
			}
		}
		return tags, true, nil
	case []any:
		for _, element := range v {
			word, isText := element.(string)
			if !isText {
				return nil, true, badRequest([]any{"not_string", key})
			}
			tags = append(tags, word)
		}
		return tags, true, nil
	}
	return nil, true, badRequest([]any{"not_string", key})
}
