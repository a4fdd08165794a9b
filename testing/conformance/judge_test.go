package conformance

import (
	"reflect"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	outcomes := []Outcome{{"a", Passed, ""}, {"b", Failed, "broken"}, {"c", Skipped, "no tool"}, {"d", Failed, ""}, {"e", Skipped, ""}, {"f", Passed, ""}}
	excluded, err := parseExclusions("# why\n\nd # a reason\ne # another\nf # a third\ngone # a fourth\n")
	if err != nil {
		t.Fatal(err)
	}
	passed, failures := Judge(outcomes, excluded)
	var names []string
	for _, f := range failures {
		names = append(names, f.Name)
	}
	if passed != 1 || strings.Join(names, " ") != "b c gone" {
		t.Fatalf("passed %d, failures %v", passed, names)
	}
}

func TestExclusionsNeedReasons(t *testing.T) {
	for _, text := range []string{"TestX", "TestX # ", " # reason", "a # b\na # c"} {
		if _, err := parseExclusions(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestParseTAP(t *testing.T) {
	all := ParseTAP("starts\nok 1 - first\nok 2 second # SKIP no tool\nnot ok third\n  why\n1..3\n")
	want := []Outcome{{"first", Passed, "starts\n"}, {"second", Skipped, "no tool"}, {"third", Failed, "  why\n"}}
	if !reflect.DeepEqual(all, want) {
		t.Fatalf("%+v", all)
	}
}

func TestParseTAPOfAProgramThatDied(t *testing.T) {
	for _, text := range []string{"", "ok a\npanic\n", "1..2\nok a\npanic\n"} {
		all := ParseTAP(text)
		if last := all[len(all)-1]; last.Status != Failed {
			t.Errorf("%q: %+v", text, all)
		}
	}
}

func TestParseGoTest(t *testing.T) {
	all := ParseGoTest(`{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA/sub","Output":"no\n"}
{"Action":"fail","Test":"TestA/sub"}
{"Action":"fail","Test":"TestA"}
not JSON
{"Action":"pass","Test":"TestB"}
{"Action":"skip","Test":"TestC"}
{"Action":"run","Test":"TestD"}
{"Action":"output","Test":"TestD","Output":"panic\n"}
{"Action":"fail"}`)
	want := []Outcome{{"TestA", Failed, "no"}, {"TestB", Passed, ""}, {"TestC", Skipped, ""}, {"TestD", Failed, "panic"}}
	if !reflect.DeepEqual(all, want) {
		t.Fatalf("%+v", all)
	}
}
