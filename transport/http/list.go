package http

import (
	"cmp"
	"fmt"
	nethttp "net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Lists take RabbitMQ's parameters: columns, sort and sort_reverse; and, where page is given, page_size, name and use_regex.

const (
	pageSizeDefault = 100
	pageSizeMax     = 500
)

// paging is what a request asks of a list.
type paging struct {
	page, size int // page 0: the whole list
	name       func(name string) bool
}

func (r *request) paging() (p paging, err error) {
	p.name = func(string) bool { return true }
	if r.query.Get("page") == "" {
		return p, nil
	}
	invalid := badRequest("Pagination parameters are invalid")
	p.size = pageSizeDefault
	if p.page, err = strconv.Atoi(r.query.Get("page")); err != nil {
		return p, invalid
	}
	if size := r.query.Get("page_size"); size != "" {
		if p.size, err = strconv.Atoi(size); err != nil {
			return p, invalid
		}
	}
	if p.page < 1 || p.size < 1 || p.size > pageSizeMax {
		return p, &failure{
			status: nethttp.StatusBadRequest, name: "invalid_pagination_parameters",
			reason: fmt.Sprintf("Invalid pagination parameters: page number %d, page size %d", p.page, p.size),
		}
	}
	name := r.query.Get("name")
	switch {
	case name == "":
	case r.query.Get("use_regex") == "true":
		expression, err := regexp.Compile("(?i)" + name)
		if err != nil {
			return p, invalid
		}
		p.name = expression.MatchString
	default:
		name = strings.ToLower(name)
		p.name = func(candidate string) bool { return strings.Contains(strings.ToLower(candidate), name) }
	}
	return p, nil
}

// cut returns the bounds of the page in a list of that length.
func (p paging) cut(length int) (from, to int, err error) {
	from = (p.page - 1) * p.size
	if from >= length && p.page > 1 {
		return 0, 0, &failure{
			status: nethttp.StatusBadRequest, name: "page_out_of_range",
			reason: fmt.Sprintf("Page out of range, page: %d page size: %d, len: %d", p.page, p.size, length),
		}
	}
	return from, min(from+p.size, length), nil
}

// envelope is a page as clients expect it.
func (p paging) envelope(items []object, filtered, total int) object {
	return object{
		{"filtered_count", filtered},
		{"item_count", len(items)},
		{"items", items},
		{"page", p.page},
		{"page_count", max(1, (filtered+p.size-1)/p.size)},
		{"page_size", p.size},
		{"total_count", total},
	}
}

// list answers with a list of objects as the request wants it.
func (r *request) list(items []object) (response, error) {
	p, err := r.paging()
	if err != nil {
		return response{}, err
	}
	if items == nil {
		items = []object{}
	}
	total := len(items)
	if p.page > 0 {
		items = slices.DeleteFunc(items, func(o object) bool {
			name, _ := o.get("name")
			text, _ := name.(string)
			return !p.name(text)
		})
	}
	r.sort(items)
	if p.page == 0 {
		return ok(r.columns(items))
	}
	from, to, err := p.cut(len(items))
	if err != nil {
		return response{}, err
	}
	return ok(p.envelope(r.columns(items[from:to]), len(items), total))
}

func (r *request) sort(items []object) {
	path := r.query.Get("sort")
	if path == "" {
		return
	}
	sign := 1
	if r.query.Get("sort_reverse") == "true" {
		sign = -1
	}
	slices.SortStableFunc(items, func(a, b object) int {
		x, _ := a.get(path)
		y, _ := b.get(path)
		return sign * compareJSON(x, y)
	})
}

// compareJSON orders values of one kind; numbers come before texts, and what is missing last.
func compareJSON(a, b any) int {
	x, xIsNumber := number(a)
	y, yIsNumber := number(b)
	if xIsNumber && yIsNumber {
		return cmp.Compare(x, y)
	}
	if kind := cmp.Compare(kindOf(a), kindOf(b)); kind != 0 {
		return kind
	}
	return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
}

func kindOf(v any) int {
	switch v.(type) {
	case nil:
		return 3
	case string:
		return 1
	case int, int64, uint64, float64:
		return 0
	}
	return 2
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// columns leaves the fields that were asked for.
func (r *request) columns(items []object) []object {
	paths := r.columnPaths()
	if paths == nil {
		return items
	}
	picked := make([]object, len(items))
	for i := range items {
		picked[i] = items[i].pick(paths)
	}
	return picked
}

func (r *request) columnPaths() []string {
	if c := r.query.Get("columns"); c != "" {
		return strings.Split(c, ",")
	}
	return nil
}

// one answers with one object as the request wants it.
func (r *request) one(o object) (response, error) {
	if paths := r.columnPaths(); paths != nil {
		o = o.pick(paths)
	}
	return ok(o)
}
