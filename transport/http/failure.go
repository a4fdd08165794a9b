package http

import (
	"context"
	"errors"
	nethttp "net/http"

	"github.com/triagemq/triagemq/broker"
	"github.com/triagemq/triagemq/fsm"
)

// failure is an answer that is not a success, in RabbitMQ's form: {"error": …, "reason": …}.
type failure struct {
	status int
	name   string // "bad_request"
	reason any    // text, or a list of texts
	login  bool   // ask for credentials
}

// Error implements error.
func (f *failure) Error() string { return f.name }

func badRequest(reason any) *failure {
	return &failure{status: nethttp.StatusBadRequest, name: "bad_request", reason: reason}
}

func notFound() *failure {
	return &failure{status: nethttp.StatusNotFound, name: "Object Not Found", reason: "Not Found"}
}

func notAuthorised(reason string) *failure {
	return &failure{status: nethttp.StatusUnauthorized, name: "not_authorised", reason: reason}
}

func unavailable(reason string) *failure {
	return &failure{status: nethttp.StatusServiceUnavailable, name: "unavailable", reason: reason}
}

// failureOf turns whatever a handler returned into an answer.
func failureOf(err error) *failure {
	var f *failure
	var refusal *broker.Refusal
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &refusal):
		return refused(refusal)
	case errors.Is(err, broker.ErrInvalid):
		return badRequest(err.Error())
	case errors.Is(err, broker.ErrBusy):
		return unavailable("too many calls are under way at this node")
	case errors.Is(err, broker.ErrNotAccepting):
		return unavailable("this node serves no clients now")
	case errors.Is(err, broker.ErrOutcomeUnknown), errors.Is(err, broker.ErrSessionOver), errors.Is(err, context.DeadlineExceeded):
		return unavailable("the outcome is unknown: there was no majority of nodes, or this node lost its place; ask again")
	}
	return &failure{status: nethttp.StatusInternalServerError, name: "internal_error", reason: err.Error()}
}

// refused maps what the state machine refuses, as RabbitMQ does.
func refused(r *broker.Refusal) *failure {
	switch statusOf(r.Code) {
	case nethttp.StatusNotFound:
		return &failure{status: nethttp.StatusNotFound, name: "not_found", reason: r.Text}
	case nethttp.StatusUnauthorized:
		return notAuthorised("ACCESS_REFUSED - " + r.Text)
	case nethttp.StatusServiceUnavailable:
		return unavailable(r.Text)
	case nethttp.StatusConflict:
		return &failure{status: nethttp.StatusConflict, name: "conflict", reason: r.Text}
	}
	return badRequest(r.Text)
}

func statusOf(code fsm.Code) int {
	switch code {
	case fsm.OK:
		return nethttp.StatusOK
	case fsm.NotFound:
		return nethttp.StatusNotFound
	case fsm.AccessRefused:
		return nethttp.StatusUnauthorized
	case fsm.Forced:
		return nethttp.StatusServiceUnavailable
	case fsm.NotYet:
		return nethttp.StatusConflict
	}
	return nethttp.StatusBadRequest
}
