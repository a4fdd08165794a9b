package fsm

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files of the formats and of the scripts instead of comparing with them")

const goldenDir = "testdata/golden/v1"

// TestGolden compares every encoding with the files of its version, both ways: what the file describes must be encoded as it says, and what it holds
// must decode to what it describes. After a release a difference in these files is a log that the next release cannot read: add a version instead.
func TestGolden(t *testing.T) {
	files := goldenFiles()
	if *update {
		writeGolden(t, files)
	}
	found, err := filepath.Glob(filepath.Join(goldenDir, "*.txt"))
	if err != nil || len(found) != len(files) {
		t.Errorf("%d golden files in %s for %d formats, error %v", len(found), goldenDir, len(files), err)
	}
	for name, want := range files {
		t.Run(name, func(t *testing.T) {
			got, err := os.ReadFile(filepath.Join(goldenDir, name))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("the encoding changed. The file has\n%s\nbut now it would be\n%s", got, want)
			}
			for _, section := range strings.Split(string(got), "\n\n") {
				checkGoldenSection(t, name, strings.TrimSpace(section))
			}
		})
	}
}

func checkGoldenSection(t *testing.T, name, section string) {
	t.Helper()
	encoded := parseDump(t, section)
	var described string
	var again []byte
	switch {
	case strings.HasPrefix(name, "command-"):
		described, again = redoCommand(t, encoded)
	case strings.HasPrefix(name, "item-"):
		described, again = redoItem(t, encoded)
	default:
		described, again = redoEntry(t, encoded)
	}
	if !bytes.Equal(again, encoded) {
		t.Errorf("encoded again it differs:\n%s", hex.Dump(again))
	}
	_, body, _ := strings.Cut(section, "\n") // without the title
	if !strings.HasPrefix(body, described) {
		t.Errorf("decoded it is\n%s\nbut the file has\n%s", described, body)
	}
}

func redoCommand(t *testing.T, encoded []byte) (string, []byte) {
	t.Helper()
	kind, ref, payload, _, err := decodeCommandHead(encoded)
	if err != nil {
		t.Fatal(err)
	}
	c := newCommand(kind)
	if err := c.decode(ref, payload); err != nil {
		t.Fatal(err)
	}
	return describeFields(c), c.Append(nil)
}

func redoItem(t *testing.T, encoded []byte) (string, []byte) {
	t.Helper()
	if err := CheckItem(encoded); err != nil {
		t.Fatal(err)
	}
	it, err := decodeItem(itemKind(encoded[0]), encoded[itemHeadSize:])
	if err != nil {
		t.Fatal(err)
	}
	return describeItem(it), appendItem(nil, it)
}

func redoEntry(t *testing.T, encoded []byte) (string, []byte) {
	t.Helper()
	timeMillis, r, err := openEntry(encoded)
	if err != nil {
		t.Fatal(err)
	}
	items, err := readItems(r)
	if err != nil {
		t.Fatal(err)
	}
	var again [][]byte
	for _, it := range items {
		again = append(again, appendItem(nil, it))
	}
	return describeEntry(timeMillis, len(items)), AppendEntry(nil, timeMillis, again)
}

// goldenFiles renders every file of the present version, by name.
func goldenFiles() map[string]string {
	files := make(map[string]string)
	for _, kind := range commandKinds() {
		empty := newCommand(kind)
		if p, ok := empty.(*Publish); ok {
			p.Properties = []byte{0, 0} // no properties; their absence would be damage
		}
		var text strings.Builder
		full := exampleCommand(kind)
		renderGolden(&text, "every field", describeFields(full), full.Append(nil))
		renderGolden(&text, "no field", describeFields(empty), empty.Append(nil))
		files[fmt.Sprintf("command-%02d-%v.txt", kind, kind)] = text.String()
	}
	encoded, decoded := exampleItems()
	for i, b := range encoded {
		var text strings.Builder
		renderGolden(&text, "every field", describeItem(decoded[i]), b)
		name := fmt.Sprintf("item-%d-%v.txt", decoded[i].kind, decoded[i].kind)
		files[strings.ReplaceAll(name, " ", "-")] = text.String()
	}
	var text strings.Builder
	const timeMillis = 1_795_363_200_123
	renderGolden(&text, "all items", describeEntry(timeMillis, len(encoded)), AppendEntry(nil, timeMillis, encoded))
	renderGolden(&text, "no items", describeEntry(-1, 0), AppendEntry(nil, -1, nil))
	files["entry.txt"] = text.String()
	return files
}

func renderGolden(text *strings.Builder, title, described string, encoded []byte) {
	if text.Len() > 0 {
		text.WriteString("\n")
	}
	fmt.Fprintf(text, "# %s\n%s%s", title, described, hex.Dump(encoded))
}

// describeFields prints a struct, a field a line.
func describeFields(c any) string {
	var text strings.Builder
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		value := fmt.Sprintf("%+v", v.Field(i))
		switch f := v.Field(i); f.Kind() {
		case reflect.String, reflect.Slice:
			value = fmt.Sprintf("%q", f)
		}
		fmt.Fprintf(&text, "# %s: %s\n", v.Type().Field(i).Name, value)
	}
	return text.String()
}

func describeItem(it item) string {
	text := fmt.Sprintf("# kind: %v\n", it.kind)
	if it.Origin != (Origin{}) {
		text += fmt.Sprintf("# node: %s\n# boot: %d\n", it.Origin.Node, it.Origin.Boot)
	}
	switch it.kind {
	case itemBatch:
		text += fmt.Sprintf("# seq: %d\n# commands: %x\n", it.seq, it.commands)
	case itemVerify:
		text += fmt.Sprintf("# mark: %d\n# voters: %d\n", it.markIndex, it.voters)
		for _, report := range it.reports {
			text += fmt.Sprintf("# report: %s %x\n", report.Node, report.Hash)
		}
	case itemFeatureLevel:
		text += fmt.Sprintf("# level: %d\n", it.level)
	}
	return text
}

func describeEntry(timeMillis int64, items int) string {
	return fmt.Sprintf("# time: %d ms\n# items: %d\n", timeMillis, items)
}

// parseDump reads the bytes of hex.Dump's lines: those without a leading #.
func parseDump(t *testing.T, section string) (b []byte) {
	t.Helper()
	for _, line := range strings.Split(section, "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		_, line, _ = strings.Cut(line, " ")
		line, _, _ = strings.Cut(line, "|")
		row, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		b = append(b, row...)
	}
	return b
}

func writeGolden(t *testing.T, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(goldenDir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(goldenDir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
