// Package conformance runs clients that others wrote, and their own test suites, against a real cluster of three nodes.
//
// A Suite says what it needs from Debian and from the registries, and runs something that ends in Outcomes, one a test. Each test that is left out stands
// with its reason in exclusions/SUITE.txt: Judge lets nothing else be skipped, and no entry outlive the test that it names. The results become the table
// in docs/protocol.md.
//
// The tests themselves are built with the tag conformance; `make conformance` runs them. The process first installs, with the network, what the chosen
// suites need, and then starts itself again in a network namespace of its own (EnterNamespace), where the standard ports are free: many suites dial
// localhost:5672 and localhost:15672 whatever they are told. A Balancer listens there and spreads connections over the nodes, so that a suite that
// opens two connections is on two nodes. With CHAOS=1 the cluster loses its leader every five seconds meanwhile (LoseLeader).
//
// A suite in another language is a program that prints TAP (`ok NAME`, `not ok NAME`, and `1..COUNT` at its end); World.Command gives it the addresses
// in its environment. To add one: a file suite_NAME_test.go with a function that returns its Suite, a line in the list in conformance_test.go, and its
// program in a folder beside it.
package conformance
