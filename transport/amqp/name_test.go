package amqp

import (
	"regexp"
	"testing"
)

func TestUniqueNamesAreAsLongAsRabbitMQs(t *testing.T) {
	form := regexp.MustCompile(`^amq\.ctag-[A-Za-z0-9_-]{22}$`)
	seen := map[string]bool{}
	for range 100 {
		name := uniqueName("amq.ctag-")
		if !form.MatchString(name) || seen[name] {
			t.Fatalf("%q is of another form, or not unique", name)
		}
		seen[name] = true
	}
}
