package fsm

import (
	"fmt"
	"testing"

	"github.com/triagemq/triagemq/fsm/content"
)

// A declaration with as many arguments as a table may have leaves no room for its virtual host's default type.
func TestDefaultTypeOfFullArguments(t *testing.T) {
	for _, n := range []int{content.EntriesMax - 1, content.EntriesMax} {
		d := newDriver(t)
		d.apply(&PutVHost{Name: "/", DefaultQueueType: queueTypeQuorum})
		arguments := make(content.Table, n)
		for i := range arguments {
			arguments[i] = content.Field{Name: fmt.Sprint(i), Value: true}
		}
		d.apply(&DeclareQueue{Ref: driverChannel, Name: "q", Durable: true, Arguments: arguments.Append(nil)})
		if refused := d.count(ChannelFailed) > 0; refused != (n == content.EntriesMax) {
			t.Errorf("%d arguments: %+v", n, d.effects)
		}
		d.check()
	}
}
