package fsm

import (
	"errors"
	"regexp"
	"strings"
)

// namePattern is the pattern of a policy: a regular expression that may match anywhere in a name.
//
// RabbitMQ's are Perl's, ours RE2's, whose matching takes linear time. What patterns in use need of Perl beyond RE2 is lookahead at the beginning, as in
// ^(?!amq\.).*, so that is taken apart here: each lookahead is an expression of its own.
type namePattern struct {
	ahead []lookahead
	rest  *regexp.Regexp
}

// lookahead is (?=…), or (?!…) where it must not match.
type lookahead struct {
	negative bool
	regexp   *regexp.Regexp
}

var (
	errLookaheadOpen        = errors.New("missing )")
	errLookaheadAlternative = errors.New("lookahead goes with no alternative outside parentheses")
)

func compilePattern(source string) (p namePattern, err error) {
	if rest, anchored := strings.CutPrefix(source, "^"); anchored {
		if p.ahead, source, err = compileLookaheads(rest); err != nil {
			return p, err
		}
		if len(p.ahead) > 0 && hasAlternative(source) {
			return p, errLookaheadAlternative
		}
		source = "^" + source
	}
	p.rest, err = regexp.Compile(source)
	return p, err
}

// compileLookaheads splits leading lookaheads off an anchored pattern.
func compileLookaheads(source string) (ahead []lookahead, rest string, err error) {
	for strings.HasPrefix(source, "(?!") || strings.HasPrefix(source, "(?=") {
		end := closingParenthesis(source)
		if end < 0 {
			return nil, "", errLookaheadOpen
		}
		re, err := regexp.Compile("^(?:" + source[len("(?!"):end] + ")")
		if err != nil {
			return nil, "", err
		}
		ahead = append(ahead, lookahead{negative: source[2] == '!', regexp: re})
		source = source[end+1:]
	}
	return ahead, source, nil
}

// closingParenthesis finds the end of the group that a pattern begins with; -1 where there is none.
func closingParenthesis(source string) (at int) {
	at = -1
	eachPlain(source, func(i, depth int) bool {
		if source[i] == ')' && depth == 0 {
			at = i
		}
		return at < 0
	})
	return at
}

func hasAlternative(source string) (found bool) {
	eachPlain(source, func(i, depth int) bool {
		found = found || source[i] == '|' && depth == 0
		return !found
	})
	return found
}

// eachPlain calls f for what in a pattern is neither escaped nor in a class, with the number of groups that are open behind it, until f returns false.
func eachPlain(source string, f func(i, depth int) bool) {
	depth, class := 0, -1 // class is where the class began that we are in
	for i := 0; i < len(source); i++ {
		switch c := source[i]; {
		case c == '\\':
			i++
			continue
		case class >= 0:
			if c == ']' && i > class+1 && source[class+1:i] != "^" { // a ] that comes first is itself
				class = -1
			}
			continue
		case c == '[':
			class = i
			continue
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
		if !f(i, depth) {
			return
		}
	}
}

func (p *namePattern) matches(name string) bool {
	for i := range p.ahead {
		if p.ahead[i].regexp.MatchString(name) == p.ahead[i].negative {
			return false
		}
	}
	return p.rest.MatchString(name)
}
