package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Defaults of the flags that name a node and a login.
const (
	defaultURL   = "http://127.0.0.1:15672"
	defaultLogin = "guest" // user and password of a cluster that was started without others; guest may log in from loopback only
)

// dialBound is how long one address may take to accept a connection, and probeBound how long a node may take to say whether it is ready: a dead machine answers nothing.
const (
	dialBound  = time.Second
	probeBound = time.Second
)

// answerBytesMax bounds what Get and Post read of an answer.
const answerBytesMax = 64 << 20

// Client asks the HTTP door of a node. It is for one command and one goroutine.
type Client struct {
	urls           []string // bases, without a slash at the end
	user, password string   // "" = none given
	http           http.Client
	chosen         string // the base that answered, "" = not chosen yet
}

// ClientFlags are the flags of a command that asks a node.
type ClientFlags struct {
	urls, user, password, passwordFile, caFile string
}

// ClientFlags adds the flags --url, --user, --password, --password-file and --ca-file to fs. Each is also an environment variable: TRIAGEMQ_URL and so on.
func (in *Invocation) ClientFlags(fs *flag.FlagSet) *ClientFlags {
	f := &ClientFlags{}
	for _, x := range []struct {
		to                     *string
		name, otherwise, usage string
	}{
		{&f.urls, "url", defaultURL, "`http://host:port,…` of nodes' HTTP doors; the first that is ready is asked"},
		{&f.user, "user", "", "`name` of an administrator; without one guest/guest is tried where the node wants a login"},
		{&f.password, "password", "", "`password` of --user; others see it in the list of processes, TRIAGEMQ_PASSWORD and --password-file hide it"},
		{&f.passwordFile, "password-file", "", "`file` whose first line is the password"},
		{&f.caFile, "ca-file", "", "PEM `file` with the authorities that https addresses are checked by; without it the system's"},
	} {
		env := "TRIAGEMQ_" + strings.ToUpper(strings.ReplaceAll(x.name, "-", "_"))
		fs.StringVar(x.to, x.name, cmp.Or(in.Getenv(env), x.otherwise), x.usage)
		if x.to == &f.password { // not into --help
			fs.Lookup(x.name).DefValue = ""
		}
	}
	return f
}

// Open checks the flags and returns a client; it connects to nothing yet.
func (f *ClientFlags) Open() (*Client, error) {
	c := &Client{user: f.user, password: f.password}
	for base := range strings.SplitSeq(f.urls, ",") {
		base = strings.TrimRight(strings.TrimSpace(base), "/")
		if u, err := url.Parse(base); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, UsageErrorf("--url %q: want http://host:port or https://host:port", base)
		}
		c.urls = append(c.urls, base)
	}
	if f.passwordFile != "" {
		b, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("--password-file: %w", err)
		}
		line, _, _ := strings.Cut(string(b), "\n")
		c.password = strings.TrimRight(line, "\r")
	}
	if c.user == "" && c.password != "" {
		return nil, UsageErrorf("a password without --user")
	}
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: dialBound}).DialContext, Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 2 * time.Second, DisableKeepAlives: true}
	if f.caFile != "" {
		pem, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, fmt.Errorf("--ca-file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file: no certificate in %s", f.caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	c.http.Transport = transport
	return c, nil
}

// AnswerError is a node's answer other than 2xx.
type AnswerError struct {
	URL    string
	Status int
	Name   string // error, of the JSON body
	Reason string // reason, of the JSON body
}

// Error implements error.
func (e *AnswerError) Error() string {
	switch {
	case e.Status == http.StatusUnauthorized:
		return fmt.Sprintf("%s: %s (--user and --password-file, or TRIAGEMQ_USER and TRIAGEMQ_PASSWORD, name the login)", e.URL, cmp.Or(e.Reason, "login wanted"))
	case e.Reason != "":
		return e.Reason
	case e.Status == http.StatusNotFound:
		return fmt.Sprintf("%s: 404 Not Found: is this the HTTP door of a node?", e.URL)
	}
	return fmt.Sprintf("%s: %d %s", e.URL, e.Status, http.StatusText(e.Status))
}

// Get asks for a path ("/api/cluster") and decodes the JSON answer into the value.
func (c *Client) Get(ctx context.Context, path string, into any) error {
	return c.exchange(ctx, http.MethodGet, path, nil, into)
}

// Post sends a body as JSON; into may be nil. An error that is not an Error leaves open whether the request took effect.
func (c *Client) Post(ctx context.Context, path string, body, into any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.exchange(ctx, http.MethodPost, path, b, into)
}

func (c *Client) exchange(ctx context.Context, method, path string, body []byte, into any) error {
	r, err := c.Do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, answerBytesMax))
	if err != nil {
		return fmt.Errorf("%s: %w", c.chosen, err)
	}
	if into == nil || len(b) == 0 {
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s%s: not the JSON that was expected: %w", c.chosen, path, err)
	}
	return nil
}

// Do sends a request, with a JSON body where body is not nil, and returns the answer where its status is 2xx; the caller closes its body, of which any length may come.
// A status of 4xx is an Error with code Refused around an AnswerError, others are Failed. Without --user a node that wants a login is asked again as guest.
func (c *Client) Do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	if err := c.choose(ctx); err != nil {
		return nil, err
	}
	r, err := c.send(ctx, method, path, body, c.user, c.password)
	if err == nil && r.StatusCode == http.StatusUnauthorized && c.user == "" {
		r.Body.Close()
		r, err = c.send(ctx, method, path, body, defaultLogin, defaultLogin)
	}
	if err != nil {
		return nil, err
	}
	if r.StatusCode/100 == 2 {
		return r, nil
	}
	defer r.Body.Close()
	answer := struct{ Error, Reason string }{}
	if b, err := io.ReadAll(io.LimitReader(r.Body, 64<<10)); err == nil {
		_ = json.Unmarshal(b, &answer) // a proxy may have answered: then the status must do
	}
	failure := &AnswerError{URL: c.chosen, Status: r.StatusCode, Name: answer.Error, Reason: answer.Reason}
	if r.StatusCode/100 == 4 {
		return nil, &Error{Refused, failure}
	}
	return nil, &Error{Failed, failure}
}

func (c *Client) send(ctx context.Context, method, path string, body []byte, user, password string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.chosen+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	r, err := c.http.Do(req)
	switch {
	case isDialError(err):
		err = fmt.Errorf("%w: does the node run? --url or TRIAGEMQ_URL name the HTTP doors to ask", err)
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%s does not answer in time: %w", c.chosen, err)
	}
	return r, err
}

// choose finds the node to ask: the only one that was named, else the first to say that it is ready, else one that lives.
func (c *Client) choose(ctx context.Context) error {
	if c.chosen != "" {
		return nil
	}
	if len(c.urls) == 1 {
		c.chosen = c.urls[0]
		return nil
	}
	type reply struct {
		base  string
		ready bool
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, probeBound)
	replies := make(chan reply, len(c.urls)) // room for all: the first that is ready is enough
	var probes sync.WaitGroup
	defer probes.Wait()
	defer cancel()
	for _, base := range c.urls {
		probes.Go(func() {
			ready, err := c.probe(ctx, base)
			replies <- reply{base, ready, err}
		})
	}
	var errs []error
	alive := ""
	for range c.urls {
		r := <-replies
		switch {
		case r.err != nil:
			errs = append(errs, r.err)
		case r.ready:
			c.chosen = r.base
			return nil
		default:
			alive = r.base
		}
	}
	if alive == "" {
		return fmt.Errorf("no node answers:\n%w", errors.Join(errs...))
	}
	c.chosen = alive
	return nil
}

// chooseAgain forgets the node that was asked: it may be the one that went.
func (c *Client) chooseAgain() { c.chosen = "" }

// also adds nodes to ask where those named on the command line do not answer.
func (c *Client) also(urls []string) {
	for _, u := range urls {
		if !slices.Contains(c.urls, u) {
			c.urls = append(c.urls, u)
		}
	}
}

// elsewhere is a client for other nodes with the same login; c itself where there are none.
func (c *Client) elsewhere(urls []string) *Client {
	if len(urls) == 0 {
		return c
	}
	return &Client{urls: urls, user: c.user, password: c.password, http: http.Client{Transport: c.http.Transport}}
}

// isDialError says that a request was not sent: nobody took the connection.
func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// probe asks a node whether it would serve clients.
func (c *Client) probe(ctx context.Context, base string) (ready bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
	if err != nil {
		return false, err
	}
	r, err := c.http.Do(req)
	if err != nil {
		return false, err
	}
	r.Body.Close()
	return r.StatusCode == http.StatusOK, nil
}
