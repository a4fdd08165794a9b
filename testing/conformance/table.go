package conformance

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// The markers between which the table of results stands.
const (
	tableBegin = "<!-- conformance: begin (make conformance UPDATE=1 writes it) -->"
	tableEnd   = "<!-- conformance: end -->"
)

const tableHead = "| suite | what runs | version | passed | excluded | passed while leaders were lost |\n|---|---|---|---|---|---|\n"

// Row is a suite's line of the table.
type Row struct {
	Suite, About, Version string
	Passed, Failed        int
	Excluded              int
	Chaos                 bool // the run had leaders lost
}

// UpdateTable writes rows into the table of a Markdown file. Suites that did not run keep their line, and a suite keeps the cell of the kind of run that
// this was not. order lists the suites that there are, in the order of their lines; lines of others go.
func UpdateTable(file string, rows []Row, order []string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	updated, err := updateTable(string(text), rows, order)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(updated), 0o644)
}

func updateTable(text string, rows []Row, order []string) (string, error) {
	before, rest, ok := strings.Cut(text, tableBegin+"\n")
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		return "", errors.New("the markers of the table are missing")
	}
	lines := map[string][]string{}
	for line := range strings.Lines(old) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"); len(cells) == 6 {
			lines[strings.TrimSpace(cells[0])] = cells
		}
	}
	for _, r := range rows {
		lines[r.Suite] = r.cells(lines[r.Suite])
	}
	var b strings.Builder
	b.WriteString(before + tableBegin + "\n" + tableHead)
	for _, name := range order {
		if cells, ok := lines[name]; ok {
			for _, c := range cells {
				b.WriteString("| " + strings.TrimSpace(c) + " ")
			}
			b.WriteString("|\n")
		}
	}
	return b.String() + tableEnd + after, nil
}

func (r Row) cells(old []string) []string {
	excluded := "none"
	if r.Excluded > 0 {
		excluded = fmt.Sprintf("[%d](../testing/conformance/exclusions/%s.txt)", r.Excluded, r.Suite)
	}
	cells := []string{r.Suite, r.About, r.Version, "", excluded, ""}
	if len(old) == len(cells) {
		cells[3], cells[5] = old[3], old[5]
	}
	result := fmt.Sprintf("%d of %d", r.Passed, r.Passed+r.Failed)
	if r.Chaos {
		cells[5] = result
	} else {
		cells[3] = result
	}
	return slices.Clone(cells)
}
