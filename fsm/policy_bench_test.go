package fsm_test

import (
	"fmt"
	"testing"

	"github.com/triagemq/triagemq/fsm"
	"github.com/triagemq/triagemq/fsm/content"
)

// BenchmarkPutPolicy puts a policy where there are 50,000 queues with arguments, of which it concerns all, one or none.
//
//	go test ./fsm -run xxx -bench Policy
func BenchmarkPutPolicy(b *testing.B) {
	const queues = 50_000
	c := newCrowd(1)
	arguments := content.Table{{Name: "x-queue-type", Value: "quorum"}, {Name: "x-max-length", Value: int32(10)}}.Append(nil)
	var commands []fsm.Command
	for i := range queues {
		commands = append(commands, &fsm.DeclareQueue{Ref: channelOf(0), Name: fmt.Sprint("service-", i), Durable: true, Arguments: arguments})
	}
	c.run(commands)
	definition := content.Table{{Name: "max-length", Value: int32(100)}, {Name: "delivery-limit", Value: int32(5)}}.Append(nil)
	c.run([]fsm.Command{&fsm.PutPolicy{VHost: "/", Name: "lowest", Priority: -1, Definition: definition}})
	for _, concerned := range []struct{ name, pattern string }{
		{"all", ""}, {"all-lookahead", `^(?!amq\.).*`}, {"one", "^service-777$"}, {"none", "nobody"},
	} {
		b.Run(concerned.name, func(b *testing.B) {
			put := (&fsm.PutPolicy{VHost: "/", Name: "p", Pattern: concerned.pattern, Definition: definition}).Append(nil)
			drop := (&fsm.DeletePolicy{VHost: "/", Name: "p"}).Append(nil)
			for b.Loop() {
				c.batch(put)
				b.StopTimer()
				c.batch(drop)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/queues, "ns/queue")
		})
	}
}

// BenchmarkPublishAtLimit publishes to a queue that is full: each message displaces one, or is refused.
func BenchmarkPublishAtLimit(b *testing.B) {
	for _, overflow := range []string{"drop-head", "reject-publish"} {
		b.Run(overflow, func(b *testing.B) {
			s := newBenchState()
			arguments := content.Table{{Name: "x-max-length", Value: int32(1000)}, {Name: "x-overflow", Value: overflow}}
			s.batch((&fsm.DeclareQueue{Ref: s.publish.Ref, Name: "full", Arguments: arguments.Append(nil)}).Append(nil))
			s.publish.RoutingKey = []byte("full")
			const perEntry = 200
			commands := s.publishes(nil, perEntry)
			for range 5 {
				s.batch(commands)
			}
			b.ReportAllocs()
			for b.Loop() {
				s.batch(commands)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/perEntry, "ns/message")
		})
	}
}
