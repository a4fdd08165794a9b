package fsm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Scripts are the state machine's stories with their endings: files of blocks, each some commands, a line "----" and what came of them. The commands of a
// block are one log entry, those of one origin in a row one batch. Every effect for every origin is a line of output. script_command_test.go has the
// commands, script_cluster_test.go the replicas that run them.
//
//	go test ./fsm -run Script            compares
//	go test ./fsm -run Script -update    writes the endings: read the difference before you commit it

const scriptSeparator = "----"

func TestScript(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := parseScript(string(text))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	c := newScriptCluster(t, scriptOrigins(blocks))
	for i := range blocks {
		b := &blocks[i]
		got := runBlock(t, c, file, b)
		if got != b.output && !*update {
			t.Errorf("%s:%d:\n%s\ngives\n%s\nwanted\n%s", file, b.line, strings.Join(b.commands, "\n"), indent(got), indent(b.output))
		}
		b.output = got
	}
	if *update {
		if err := os.WriteFile(file, []byte(formatScript(blocks)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// runBlock names the block where the state machine panics: an invariant's message alone does not say which command broke it.
func runBlock(t *testing.T, c *scriptCluster, file string, b *scriptBlock) string {
	defer func() {
		if fault := recover(); fault != nil {
			t.Errorf("%s:%d: %s", file, b.line, strings.Join(b.commands, "\n"))
			panic(fault)
		}
	}()
	c.t.Helper()
	c.at = fmt.Sprintf("%s:%d", file, b.line)
	return c.run(b.commands)
}

// scriptBlock is some commands and their output, with the comment above them.
type scriptBlock struct {
	line     int // of the first command
	comment  []string
	commands []string
	output   string // lines, each with its newline
}

func parseScript(text string) (blocks []scriptBlock, err error) {
	var b scriptBlock
	inOutput := false
	flush := func() {
		if len(b.commands) > 0 || len(b.comment) > 0 {
			blocks = append(blocks, b)
		}
		b, inOutput = scriptBlock{}, false
	}
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			flush()
		case inOutput:
			b.output += line + "\n"
		case line == scriptSeparator:
			inOutput = true
		case strings.HasPrefix(line, "#") && len(b.commands) == 0:
			b.comment = append(b.comment, line)
		default:
			if len(b.commands) == 0 {
				b.line = i + 1
			}
			b.commands = append(b.commands, line)
		}
	}
	flush()
	return blocks, nil
}

func formatScript(blocks []scriptBlock) string {
	var text strings.Builder
	for i, b := range blocks {
		if i > 0 {
			text.WriteString("\n")
		}
		for _, line := range b.comment {
			text.WriteString(line + "\n")
		}
		for _, line := range b.commands {
			text.WriteString(line + "\n")
		}
		if len(b.commands) > 0 {
			text.WriteString(scriptSeparator + "\n" + b.output)
		}
	}
	return text.String()
}

func indent(lines string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(lines, "\n"), "\n", "\n    ")
}
