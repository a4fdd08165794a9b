// Package cli is the administrator's side of the triagemq command: one file a noun (cluster.go, …), each of which returns a Command for the table in main.
//
// What the nouns share lies in files of their own: command.go (the tree of commands, help, flags), client.go (a node's HTTP door), exit.go (exit codes and how
// errors carry them), table.go (output). A command talks to a running node by its HTTP door, like any other client; of the broker it imports nothing but the format of backups. It writes
// its result to Stdout, as a table for people or, with --json, as one JSON value whose field names are documented and only ever added to; everything else goes
// to Stderr. No package state, no goroutine outlives Run. Start reading at Command.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Command is one word of the command line: a leaf with Run, or a group with Commands.
type Command struct {
	Name     string // "status"
	Args     string // what follows the name in the usage line: "NODE [flags]"
	Summary  string // one line
	Help     string // paragraphs for --help, without the usage line and the flags; "" = Summary
	Commands []Command
	Run      func(in *Invocation) error // nil for a group
}

// Invocation is one call of a command.
type Invocation struct {
	// Context ends when the command should: never by itself. A command that has something to clean up catches signals (signal.NotifyContext).
	Context context.Context
	Path    string   // the words that led here: "triagemq cluster status"
	Args    []string // what follows them
	Command *Command
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Getenv  func(string) string
}

// Main runs the command of root that in.Args name. It prints errors and returns the process's exit code (see exit.go).
func Main(root Command, in Invocation) int {
	in.Path, in.Command = root.Name, &root
	err := in.dispatch()
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return OK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(in.Stderr, "triagemq: %s\n", text)
	}
	return CodeOf(err)
}

// dispatch follows the words down to a leaf and runs it. `help a b` is `a b --help`.
func (in *Invocation) dispatch() error {
	for in.Command.Run == nil {
		if len(in.Args) == 0 {
			in.printGroup(in.Stderr)
			return &Error{Code: Usage}
		}
		word := in.Args[0]
		if word == "help" {
			in.Args = append(slices.Clone(in.Args[1:]), "--help")
			continue
		}
		if isHelp(word) {
			in.printGroup(in.Stdout)
			return nil
		}
		i := slices.IndexFunc(in.Command.Commands, func(c Command) bool { return c.Name == word })
		if i < 0 {
			return UsageErrorf("unknown command %q; %s help lists them", word, in.Path)
		}
		in.Path, in.Command, in.Args = in.Path+" "+word, &in.Command.Commands[i], in.Args[1:]
	}
	return in.Command.Run(in)
}

func isHelp(word string) bool { return word == "--help" || word == "-help" || word == "-h" }

func (in *Invocation) printGroup(w io.Writer) {
	c := in.Command
	if text := c.text(); text != "" {
		fmt.Fprintf(w, "%s\n\n", text)
	}
	fmt.Fprintf(w, "Usage:\n")
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, sub := range c.Commands {
		fmt.Fprintf(t, "  %s\t%s\n", strings.TrimSpace(in.Path+" "+sub.Name+" "+sub.Args), sub.Summary)
	}
	t.Flush()
	fmt.Fprintf(w, "\n%s help COMMAND tells more.\n", in.Path)
}

func (c *Command) text() string {
	if c.Help != "" {
		return c.Help
	}
	return c.Summary
}

// Flags is an empty flag set for this command; Parse reads the arguments with it.
func (in *Invocation) Flags() *flag.FlagSet {
	fs := flag.NewFlagSet(in.Path, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // Parse says what went wrong, once
	return fs
}

// Parse reads flags and positional arguments in any order, and returns the latter: at least least and at most most. --help prints the command's help and
// returns flag.ErrHelp, which Main takes for success.
func (in *Invocation) Parse(fs *flag.FlagSet, least, most int) ([]string, error) {
	var words []string
	for rest := in.Args; ; {
		err := fs.Parse(rest)
		if errors.Is(err, flag.ErrHelp) {
			in.PrintHelp(fs)
			return nil, err
		}
		if err != nil {
			return nil, UsageErrorf("%w; %s --help lists the flags", err, in.Path)
		}
		if fs.NArg() == 0 {
			break
		}
		if read := len(rest) - fs.NArg(); read > 0 && rest[read-1] == "--" {
			words = append(words, fs.Args()...)
			break
		}
		words, rest = append(words, fs.Arg(0)), fs.Args()[1:]
	}
	switch {
	case len(words) < least:
		return nil, UsageErrorf("something is missing; usage: %s %s", in.Path, in.Command.Args)
	case len(words) > most:
		return nil, UsageErrorf("unexpected argument %q; usage: %s %s", words[most], in.Path, in.Command.Args)
	}
	return words, nil
}

// PrintHelp writes what --help says to Stdout: the command's text, its usage line and the flags of fs.
func (in *Invocation) PrintHelp(fs *flag.FlagSet) {
	fmt.Fprintf(in.Stdout, "%s\n\nUsage: %s\n", in.Command.text(), strings.TrimSpace(in.Path+" "+in.Command.Args))
	first := true
	t := tabwriter.NewWriter(in.Stdout, 0, 0, 3, ' ', 0)
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprintf(t, "\nFlags:\n")
			first = false
		}
		name, usage := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" {
			usage += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		for i, line := range strings.Split(usage, "\n") {
			if i == 0 {
				fmt.Fprintf(t, "  --%s\t%s\n", strings.TrimSpace(f.Name+" "+name), line)
			} else {
				fmt.Fprintf(t, "  \t%s\n", line)
			}
		}
	})
	t.Flush()
}
