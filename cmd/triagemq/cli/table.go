package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table is rows of cells under headings, printed with aligned columns.
type Table struct {
	head []string
	rows [][]string
}

// NewTable returns a table with these headings.
func NewTable(head ...string) *Table { return &Table{head: head} }

// Row adds a row; cells are printed as by fmt.Sprint, and "" as "-" so that the columns stay those of a script's field splitting.
func (t *Table) Row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		if row[i] = fmt.Sprint(c); row[i] == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// Print writes the table.
func (t *Table) Print(w io.Writer) {
	out := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(out, strings.Join(t.head, "\t"))
	for _, row := range t.rows {
		fmt.Fprintln(out, strings.Join(row, "\t"))
	}
	out.Flush()
}

// PrintJSON writes one indented JSON value.
func PrintJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
