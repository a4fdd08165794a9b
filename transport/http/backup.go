package http

import (
	"context"
	"errors"
	nethttp "net/http"
	"strconv"
	"time"

	"github.com/triagemq/triagemq/broker"
)

// stallBound is how long a client of a stream may take no bytes.
const stallBound = 2 * time.Minute

// backup streams a backup of the whole broker. Its length is not told in advance; a stream that breaks off lacks the trailer, and is no backup.
func (r *request) backup() (response, error) {
	b, err := r.server.broker.OpenBackup(r.ctx())
	if errors.Is(err, broker.ErrBusy) {
		return response{}, unavailable("this node makes as many backups as it may at once: wait, or ask another node")
	}
	if err != nil {
		return response{}, unavailable(err.Error())
	}
	return response{raw: func(w nethttp.ResponseWriter) {
		defer b.Close()
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Triagemq-State-Bytes", strconv.FormatInt(b.SizeBytes, 10)) // for showing progress
		began := time.Now()
		out, stop := r.slowly(w)
		defer stop()
		n, err := b.WriteTo(out)
		if err != nil {
			r.server.log.Warn("a backup broke off", "user", r.who.User, "bytes", n, "error", err)
			panic(nethttp.ErrAbortHandler) // the client must not take an early end for the end
		}
		r.server.log.Info("backup written", "user", r.who.User, "index", b.Header.Index, "bytes", n, "seconds", time.Since(began).Seconds())
	}}, nil
}

// slowly lets an answer take as long as it needs while the client takes bytes, until the server closes.
func (r *request) slowly(w nethttp.ResponseWriter) (out *slowWriter, stop func() bool) {
	c := nethttp.NewResponseController(w) // a test's recorder has no deadlines, and needs none
	_ = c.SetReadDeadline(time.Time{})    // its passing would end the request's context
	out = &slowWriter{w: w, control: c, ending: r.server.ending}
	return out, context.AfterFunc(out.ending, func() { _ = c.SetWriteDeadline(time.Unix(1, 0)) })
}

type slowWriter struct {
	w       nethttp.ResponseWriter
	control *nethttp.ResponseController
	ending  context.Context
}

func (s *slowWriter) Write(b []byte) (int, error) {
	_ = s.control.SetWriteDeadline(time.Now().Add(stallBound))
	if err := s.ending.Err(); err != nil { // asked after the deadline was set: the end may have set its own before
		return 0, err
	}
	return s.w.Write(b)
}
