package content_test

import (
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

func TestExpirationMillis(t *testing.T) {
	for _, c := range []struct {
		in     string
		millis int64
		fault  string
	}{
		{"0", 0, ""},
		{"60000", 60_000, ""},
		{"+5", 5, ""},
		{"-0", 0, ""},
		{"4294967295", 4_294_967_295, ""},
		{"315360000000", 315_360_000_000, ""},
		{"315360000001", 0, "{value_too_large,315360000001}"},
		{"99999999999999999999999999", 0, "{value_too_large,99999999999999999999999999}"},
		{"-1", 0, "{value_negative,-1}"},
		{"", 0, "no_integer"},
		{"x", 0, "no_integer"},
		{" 1", 0, "no_integer"},
		{"1.5", 0, `{leftover_string,".5"}`},
		{"12 ", 0, `{leftover_string," "}`},
	} {
		if millis, fault := content.ExpirationMillis([]byte(c.in)); millis != c.millis || fault != c.fault {
			t.Errorf("%q is %d, %q; want %d, %q", c.in, millis, fault, c.millis, c.fault)
		}
	}
}
