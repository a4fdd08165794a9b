//go:build conformance

package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// rabbitHole is the client of the management API that the Terraform provider is made with, with its own tests.
const (
	rabbitHoleModule  = "github.com/michaelklishin/rabbit-hole/v3"
	rabbitHoleVersion = "v3.2.0"
)

func suiteRabbitHole() Suite {
	return Suite{
		Name: "rabbit-hole", About: "its own tests, of the management API",
		Timeout: 5 * time.Minute,
		Install: compileRabbitHole,
		Version: func(context.Context, *Cache) (string, error) { return rabbitHoleVersion, nil },
		Run:     runRabbitHole,
	}
}

// compileRabbitHole copies the module's source out of the module cache and compiles its tests.
func compileRabbitHole(ctx context.Context, c *Cache) error {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", rabbitHoleModule+"@"+rabbitHoleVersion)
	cmd.Dir = c.Dir // not a folder of this module
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return err
	}
	dir := filepath.Join(c.Dir, "rabbit-hole")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(module.Dir)); err != nil {
		return err
	}
	return c.Command(ctx, dir, "go", "test", "-c", "-o", "rabbithole.test", ".")
}

func runRabbitHole(ctx context.Context, w *World) ([]Outcome, error) {
	if err := prepareRabbitHole(ctx); err != nil {
		return nil, err
	}
	report := filepath.Join(w.Dir, "rabbit-hole.json")
	cmd := w.Command(ctx, filepath.Join(w.Cache.Dir, "rabbit-hole"), "./rabbithole.test", "-test.timeout=5m", "-ginkgo.no-color", "-ginkgo.json-report="+report)
	cmd.Env = append(cmd.Env, "GOMEGA_DEFAULT_EVENTUALLY_TIMEOUT=5s")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	failed := cmd.Run()
	text, err := os.ReadFile(report)
	if err != nil {
		return nil, fmt.Errorf("%w: %v\n%s", err, failed, tail(out.String(), 30))
	}
	return parseGinkgo(text)
}

// prepareRabbitHole makes what the tests expect to be there.
func prepareRabbitHole(ctx context.Context) error {
	for _, put := range []struct{ path, body string }{
		{"users/policymaker", `{"password":"policymaker","tags":"policymaker"}`},
		{"permissions/%2F/policymaker", `{"configure":".*","write":".*","read":".*"}`},
		{"vhosts/rabbit%2Fhole", `{}`},
		{"permissions/rabbit%2Fhole/guest", `{"configure":".*","write":".*","read":".*"}`},
		{"cluster-name", `{"name":"rabbitmq@localhost"}`},
	} {
		url := fmt.Sprintf("http://127.0.0.1:%d/api/%s", StandardHTTPPort, put.path)
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(put.body))
		if err != nil {
			return err
		}
		r.SetBasicAuth("guest", "guest")
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		text, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode >= 300 {
			return fmt.Errorf("PUT %s: %s %s", put.path, answer.Status, text)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return nil
}

// parseGinkgo reads Ginkgo's report.
func parseGinkgo(report []byte) ([]Outcome, error) {
	var suites []struct {
		SpecReports []struct {
			ContainerHierarchyTexts []string
			LeafNodeType            string
			LeafNodeText            string
			State                   string
			Failure                 struct{ Message string }
		}
	}
	if err := json.Unmarshal(report, &suites); err != nil {
		return nil, err
	}
	var all []Outcome
	for _, s := range suites {
		for _, spec := range s.SpecReports {
			if spec.LeafNodeType != "It" {
				continue
			}
			o := Outcome{Name: strings.Join(append(spec.ContainerHierarchyTexts, spec.LeafNodeText), ": "), Text: spec.Failure.Message}
			switch spec.State {
			case "passed":
			case "skipped", "pending":
				o.Status = Skipped
			default:
				o.Status = Failed
			}
			all = append(all, o)
		}
	}
	return all, nil
}
