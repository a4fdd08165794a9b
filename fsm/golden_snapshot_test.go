package fsm

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
)

// goldenSnapshotScript makes a state that has one of everything: open and closed origins, every kind of object, shared contents, returned and held messages,
// void tags, an incarnation that failed, a deadline, and each kind of work left over.
var goldenSnapshotScript = [][]string{
	{"limits moves=1"},
	{"open n1 1", "open n2 4", "put-vhost 0.0#1 team description=people tags=a,b type=quorum", "init-users 0.0#2 alice hash=secret algorithm=slow",
		"put-user 0.0#3 bob tags=management", "user-limits 0.0#4 bob channels=7", "vhost-limits 0.0#5 team connections=9", "permit 0.0#6 bob vhost=team configure=^b write=.* read=.*",
		"permit-topic 0.0#7 bob vhost=team exchange=amq.topic write={username}\\..* read=", "put-user 0.0#8 guest", "permit 0.0#9 guest configure=.* write=.* read=.*",
		"session 1 name=first user=alice", "session 2 user=bob vhost=team cancel-notify", "session n2:1"},
	{"channel 1.1", "channel 1.2", "channel 1.3", "channel 2.1", "channel n2:1.1"},
	{"declare-exchange 1.1 topic type=topic", "declare-exchange 1.1 inner internal auto-delete type=headers args={comment=x}", "bind-exchange 1.1 inner source=topic key=a.#"},
	{"declare-queue 1.1 q args={x-max-priority=9,x-dead-letter-exchange=topic}", "declare-queue 1.1 mine exclusive auto-delete", "bind 1.1 q source=inner args={x-match=any,h=1}",
		"bind 1.1 mine source=topic key=*", "declare-queue 2.1 bq"},
	{"publish 1.1 exchange=topic key=a body=shared headers={h=1}", "publish 1.1 key=q body=plain priority=4", "publish 1.1 key=q body=more-{i} times=4", "publish 2.1 key=bq body=team"},
	{"qos 1.2 count=3", "qos 1.2 count=9 global", "consume 1.2 q tag=c args={x-priority=-2,x-consumer-timeout=60000}", "consume 1.2 mine tag=only exclusive no-ack messages=0"},
	{"nack 1.2 tag=1 requeue", "get 1.1 q", "declare-queue 1.1 gone", "publish 1.1 key=gone body=z", "consume 1.1 gone tag=d", "delete-queue 1.1 gone"},
	{"consume n2:1.1 q tag=e", "cancel 1.2 c", "ack 1.3 tag=77"},
	{"publish 1.1 key=mine body=m times=4", "purge 1.1 mine", "publish 1.1 key=mine body=after"},
	{"declare-queue 1.1 r", "publish 1.1 key=r body=r{i} times=3", "session 3", "channel 3.1", "consume 3.1 r tag=f"},
	{"put-policy 0.0#2 short pattern=^s$ apply-to=queues priority=-1 definition={max-length=1}",
		"put-policy 0.0#3 cap operator vhost=team pattern=^(?!amq\\.) definition={max-length=10,overflow=reject-publish}",
		"put-parameter 0.0#4 cluster_name value=three", "put-parameter 0.0#5 up vhost=team component=federation-upstream value={}"},
	{"close-session 3"},
	{"declare-queue 1.1 s", "publish 1.1 key=s body=s{i} times=3", "consume 1.1 s tag=s messages=3 bytes=100", "publish 1.1 key=s body=t{i} times=3", "cancel 1.1 s"},
	{"recover 1.1"},
	{"consume 2.1 bq tag=g args={x-consumer-timeout=1000}", "publish 2.1 key=bq body=late times=3"},
	{"origin-down n2 4"},
	{"tick +2s"},
}

// TestGoldenSnapshot: this state gives the bytes of the present version's file, and the files of all versions give back a state that writes itself as it was
// read. When apply changes what it does, the first half may change with it; the format must not.
func TestGoldenSnapshot(t *testing.T) {
	file := filepath.Join(goldenDir, "snapshot.hex")
	c := newScriptCluster(t, []Origin{{"n1", 1}, {"n2", 4}})
	c.at = "golden snapshot"
	for _, commands := range goldenSnapshotScript {
		c.run(commands)
	}
	now := hex.Dump(c.lastSnapshot)
	if *update {
		if err := os.WriteFile(file, []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != now {
		t.Errorf("%v: the state is not written as in %s:\n%s", err, file, now)
	}
	files, err := filepath.Glob("testdata/golden/*/snapshot.hex")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		checkGoldenSnapshot(t, file)
	}
}

func checkGoldenSnapshot(t *testing.T, file string) {
	dump, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	encoded := parseDump(t, string(dump))
	s, err := Restore(Options{Check: true}, bytes.NewReader(encoded))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var again bytes.Buffer
	snapshot := s.Freeze()
	defer s.Thaw(snapshot)
	if _, err := snapshot.WriteTo(&again); err != nil || !bytes.Equal(again.Bytes(), encoded) {
		t.Fatalf("%s: %v: restored it is written otherwise:\n%s", file, err, hex.Dump(again.Bytes()))
	}
}

// TestSnapshotDamage: whatever byte is lost or changed, Restore says so.
func TestSnapshotDamage(t *testing.T) {
	dump, err := os.ReadFile(filepath.Join(goldenDir, "snapshot.hex"))
	if err != nil {
		t.Fatal(err)
	}
	encoded := parseDump(t, string(dump))
	for i := range encoded {
		if _, err := Restore(Options{}, bytes.NewReader(encoded[:i])); err == nil {
			t.Fatalf("cut to %d of %d bytes it is restored", i, len(encoded))
		}
		damaged := bytes.Clone(encoded)
		damaged[i] ^= 1 << (i % 8)
		if _, err := Restore(Options{}, bytes.NewReader(damaged)); err == nil {
			t.Fatalf("with byte %d changed it is restored", i)
		}
	}
}
