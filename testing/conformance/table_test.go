package conformance

import "testing"

func TestUpdateTable(t *testing.T) {
	order := []string{"a", "b"}
	text := "before\n" + tableBegin + "\n" + tableEnd + "\nafter\n"
	steps := []struct {
		row  Row
		want string
	}{
		{Row{Suite: "b", About: "its tests", Version: "1", Passed: 2, Excluded: 1}, "| b | its tests | 1 | 2 of 2 | [1](../testing/conformance/exclusions/b.txt) |  |\n"},
		{Row{Suite: "a", About: "ours", Version: "2", Passed: 3, Failed: 1}, "| a | ours | 2 | 3 of 4 | none |  |\n| b | its tests | 1 | 2 of 2 | [1](../testing/conformance/exclusions/b.txt) |  |\n"},
		{Row{Suite: "a", About: "ours", Version: "2", Passed: 4, Chaos: true}, "| a | ours | 2 | 3 of 4 | none | 4 of 4 |\n| b | its tests | 1 | 2 of 2 | [1](../testing/conformance/exclusions/b.txt) |  |\n"},
	}
	for _, s := range steps {
		var err error
		if text, err = updateTable(text, []Row{s.row}, order); err != nil {
			t.Fatal(err)
		}
		if want := "before\n" + tableBegin + "\n" + tableHead + s.want + tableEnd + "\nafter\n"; text != want {
			t.Fatalf("have\n%s\nwant\n%s", text, want)
		}
	}
	if _, err := updateTable("no markers", nil, order); err == nil {
		t.Error("a text without markers was accepted")
	}
}
