package http

import (
	nethttp "net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// route is one method of one resource of the management API. Routes are matched in order; "{name}" takes any one segment.
type route struct {
	method string
	path   string // below /api/
	access access // nil: everybody, without a login
	handle handler
}

// handler answers a request whose user has been let in.
type handler func(r *request) (response, error)

// response is a success.
type response struct {
	status   int
	body     any // nil: none
	location string
	raw      func(w nethttp.ResponseWriter) // writes an answer that is not JSON; nil: body is the answer
}

func ok(body any) (response, error) { return response{status: nethttp.StatusOK, body: body}, nil }

func noContent() (response, error) { return response{status: nethttp.StatusNoContent}, nil }

// put answers a PUT: 201 where it made something, 204 where that was there.
func put(existed bool) (response, error) {
	if existed {
		return noContent()
	}
	return response{status: nethttp.StatusCreated}, nil
}

// segments splits the path below /api/ before it decodes: "%2F" is a part of a name, "/" is none. Slashes at the end do not count.
// Names are UTF-8, as over AMQP: others could not be told apart in JSON.
func segments(u *url.URL) ([]string, error) {
	path := strings.TrimRight(strings.TrimPrefix(u.EscapedPath(), "/api/"), "/")
	parts := strings.Split(path, "/")
	for i := range parts {
		decoded, err := url.PathUnescape(parts[i])
		if err != nil {
			return nil, badRequest("the path is not percent-encoded")
		}
		if !utf8.ValidString(decoded) {
			return nil, badRequest("the path is not UTF-8")
		}
		parts[i] = decoded
	}
	return parts, nil
}

// match finds a route, or what methods there are on the path.
func match(routes []route, method string, parts []string) (found *route, args map[string]string, methods []string) {
	for i := range routes {
		a, fits := routes[i].fits(parts)
		if !fits {
			continue
		}
		if routes[i].method == method || method == nethttp.MethodHead && routes[i].method == nethttp.MethodGet {
			return &routes[i], a, nil
		}
		if !slices.Contains(methods, routes[i].method) {
			methods = append(methods, routes[i].method)
		}
	}
	return nil, nil, methods
}

func (rt *route) fits(parts []string) (args map[string]string, fits bool) {
	pattern := strings.Split(rt.path, "/")
	if len(pattern) != len(parts) {
		return nil, false
	}
	for i, p := range pattern {
		if !strings.HasPrefix(p, "{") && p != parts[i] {
			return nil, false
		}
	}
	args = map[string]string{}
	for i, p := range pattern {
		if strings.HasPrefix(p, "{") {
			args[strings.Trim(p, "{}")] = parts[i]
		}
	}
	return args, true
}
