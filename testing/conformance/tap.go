package conformance

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

var (
	tapLine = regexp.MustCompile(`^(ok|not ok)\b\s*\d*\s*-?\s*(.*?)\s*(?:# (?i:SKIP)\S*\s*(.*))?$`)
	tapPlan = regexp.MustCompile(`^1\.\.(\d+)`)
)

// ParseTAP reads the output of a program that prints the Test Anything Protocol. Lines between two tests belong to the one before them. A program that
// does not print its plan, or not as many tests as it planned, has died: that is a failed test too.
func ParseTAP(output string) []Outcome {
	var all []Outcome
	var between strings.Builder
	planned := -1
	flush := func() {
		if len(all) > 0 && all[len(all)-1].Status != Skipped {
			all[len(all)-1].Text = between.String()
			between.Reset()
		}
	}
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		if m := tapPlan.FindStringSubmatch(line); m != nil {
			planned, _ = strconv.Atoi(m[1])
			continue
		}
		m := tapLine.FindStringSubmatch(line)
		if m == nil {
			between.WriteString(line + "\n")
			continue
		}
		flush()
		all = append(all, tapOutcome(line, m))
	}
	last := tail(between.String(), 60)
	flush()
	if planned != len(all) {
		text := "planned " + strconv.Itoa(planned) + " tests, reported " + strconv.Itoa(len(all))
		if len(all) > 0 {
			text += ", the last one " + strconv.Quote(all[len(all)-1].Name)
		}
		all = append(all, Outcome{"(end of the program)", Failed, text + "; at the end:\n" + last})
	}
	return all
}

func tapOutcome(line string, m []string) Outcome {
	o := Outcome{Name: m[2]}
	switch {
	case strings.Contains(strings.ToLower(line), "# skip"):
		o.Status, o.Text = Skipped, m[3]
	case m[1] == "not ok":
		o.Status = Failed
	}
	return o
}

// ParseGoTest reads what `go tool test2json` prints: one outcome a top-level test or example. Output of subtests belongs to their test. A test without
// an end failed: the program died in it.
func ParseGoTest(output string) []Outcome {
	type event struct{ Action, Test, Output string }
	var order []string
	text, status := map[string]string{}, map[string]Status{}
	for line := range strings.Lines(output) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil || e.Test == "" {
			continue
		}
		top, _, sub := strings.Cut(e.Test, "/")
		if _, ok := status[top]; !ok {
			order, status[top] = append(order, top), Failed
		}
		text[top] += e.Output
		switch {
		case sub:
		case e.Action == "pass":
			status[top] = Passed
		case e.Action == "skip":
			status[top] = Skipped
		}
	}
	var all []Outcome
	for _, name := range order {
		all = append(all, Outcome{name, status[name], tail(text[name], 60)})
	}
	return all
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
