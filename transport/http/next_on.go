//go:build nextlevel

package http

import (
	"context"
	"errors"
	"fmt"
)

// nextRoutes are those of the feature level that no release has.
func nextRoutes() []route {
	return []route{
		{"GET", "notes/{name}", forAdministrators, (*request).getNote},
		{"PUT", "notes/{name}", forAdministrators, (*request).putNote},
	}
}

// notes is broker.Node's side of it.
type notes interface {
	PutNote(ctx context.Context, name, text string) error
	Note(name string) (text string, ok bool)
}

func (r *request) notes() (notes, error) {
	n, is := r.server.broker.(notes)
	if !is {
		return nil, errors.New("this broker keeps no notes")
	}
	return n, nil
}

func (r *request) putNote() (response, error) {
	n, err := r.notes()
	if err != nil {
		return response{}, err
	}
	body, err := r.body()
	if err != nil {
		return response{}, err
	}
	if err := n.PutNote(r.ctx(), r.args["name"], fmt.Sprint(body["text"])); err != nil {
		return response{}, err
	}
	return noContent()
}

func (r *request) getNote() (response, error) {
	n, err := r.notes()
	if err != nil {
		return response{}, err
	}
	text, is := n.Note(r.args["name"])
	if !is {
		return response{}, notFound()
	}
	return ok(object{{"text", text}})
}
