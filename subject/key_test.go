package subject_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/lanekeeper/lanekeeper/subject"
)

func TestTextForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key  subject.Key
		text string
	}{
		{subject.Key{Kind: "artifact", ID: "42"}, "artifact:42"},
		{subject.Key{Kind: "url", ID: "http://x/?a=b:c"}, "url:http://x/?a=b:c"},
		{subject.Key{Kind: "a:b", ID: "c"}, `"a:b":c`},
		{subject.Key{Kind: "a", ID: "b:c"}, `a:b:c`},
		{subject.Key{Kind: "{x}", ID: "*"}, `{x}:*`},
		{subject.Key{Kind: "k", ID: "two words"}, `k:"two words"`},
		{subject.Key{Kind: "k", ID: "\x00\n\xff"}, `k:"\x00\n\xff"`},
		{subject.Key{Kind: "k", ID: `say "hi"`}, `k:"say \"hi\""`},
		{subject.Key{Kind: "ключ", ID: "значение"}, "ключ:значение"},
	} {
		if got := c.key.String(); got != c.text {
			t.Errorf("%#v as text is %s, want %s", c.key, got, c.text)
		}
		if got, err := subject.Parse(c.text); err != nil || got != c.key {
			t.Errorf("Parse(%s) = %#v, %v; want %#v", c.text, got, err, c.key)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, part := range map[string]string{
		"":                              "no colon",
		"nocolon":                       "no colon",
		":id":                           "kind is empty",
		"kind:":                         "id is empty",
		`kind:""`:                       "id is empty",
		`"kind`:                         "does not end",
		`"kind"id`:                      "no colon after",
		`kind:"id`:                      "not a well-formed",
		`kind:"id"x`:                    "not a well-formed",
		"k:" + strings.Repeat("x", 512): "513 bytes",
	} {
		_, err := subject.Parse(text)
		if !errors.Is(err, subject.ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("Parse(%.40q): %v, want one that says %q", text, err, part)
		}
	}
	if _, err := subject.Parse("k:" + strings.Repeat("x", 511)); err != nil {
		t.Errorf("512 bytes: %v", err)
	}
}

// The length prefix keeps apart what would join to the same bytes.
func TestCanonicalIsInjective(t *testing.T) {
	t.Parallel()
	seen := make(map[string]subject.Key)
	for _, text := range []string{"a", "ab", "abc", "\x01", "\x01a", "\x02ab", strings.Repeat("x", 127), strings.Repeat("x", 128)} {
		for _, id := range []string{"a", "bc", "c", "\x01", "xx"} {
			k := subject.Key{Kind: text, ID: id}
			if other, twice := seen[k.Canonical()]; twice {
				t.Errorf("%#v and %#v have the same canonical bytes", k, other)
			}
			seen[k.Canonical()] = k
			if back, err := subject.FromCanonical(k.Canonical()); err != nil || back != k {
				t.Errorf("FromCanonical(%q) = %#v, %v", k.Canonical(), back, err)
			}
		}
	}
	for _, bad := range []string{"", "\x05ab", "\x00a", "\x01a", "\x81\x00ab", "\xff\xff\xff\xff\xff\xff"} {
		if k, err := subject.FromCanonical(bad); !errors.Is(err, subject.ErrInvalid) {
			t.Errorf("FromCanonical(%q) = %#v, %v; want ErrInvalid", bad, k, err)
		}
	}
}

var update = flag.Bool("update", false, "rewrite golden files")

// The golden file pins partition and canonical bytes: with another function, two
// releases would put one subject into two lanes.
func TestGoldenPartitions(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	keys := []subject.Key{
		{Kind: "artifact", ID: "42"}, {Kind: "build", ID: "17"}, {Kind: "k", ID: "{}*:\x00\xff"},
		{Kind: "kind", ID: strings.Repeat("long", 100)},
	}
	for i := range 20 {
		keys = append(keys, subject.Key{Kind: "s", ID: fmt.Sprint(i)})
	}
	for _, k := range keys {
		fmt.Fprintf(&b, "%x", k.Canonical())
		for _, n := range []int{1, 2, 3, 8, 16, 64, 1024} {
			fmt.Fprintf(&b, " %d", subject.Namespace{Partitions: n}.Partition(k))
		}
		b.WriteString("\n")
	}
	const path = "testdata/partitions.golden"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || b.String() != string(want) {
		t.Errorf("partitions or canonical bytes differ from %s (%v):\n%s", path, err, b.String())
	}
}

func TestPartitionsAreEven(t *testing.T) {
	t.Parallel()
	const partitions, keys = 16, 16000
	var count [partitions]int
	for i := range keys {
		count[subject.Namespace{Partitions: partitions}.Partition(subject.Key{Kind: "build", ID: fmt.Sprint(i)})]++
	}
	for p, n := range count {
		if n < keys/partitions*8/10 || n > keys/partitions*12/10 {
			t.Errorf("partition %d has %d of %d keys", p, n, keys)
		}
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"a": true, "prod-1.eu_west": true, "": false, "a b": false, "{a}": false, "a:b": false,
		strings.Repeat("n", 64): true, strings.Repeat("n", 65): false, "ключ": false,
	} {
		if err := subject.CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v, want ok %t", name, err, ok)
		}
	}
}

// Nothing of the user's can leave the hash tag, which is the first braced part.
func TestKeysShareTheTag(t *testing.T) {
	t.Parallel()
	k := subject.Namespace{Name: "n", Partitions: 8}.Keys(3)
	for _, name := range append(k.Fixed(), k.Tail("}{x}"), k.Ready("}"), k.Wake("{"), k.Request("c")) {
		if !strings.HasPrefix(name, "{n:3.0}:") { // pinned: another tag would not find what is stored
			t.Errorf("key %q does not start with the tag {n:3.0}", name)
		}
	}
	if s, ok := k.TrimTail(k.Tail("\x01ab")); !ok || s != "\x01ab" {
		t.Errorf("TrimTail gave %q, %t", s, ok)
	}
	if _, ok := k.TrimTail(k.Jobs()); ok {
		t.Error("TrimTail takes the jobs key for a tail")
	}
}

// Each partition lies in its own even share of a cluster's hash slots.
func TestPartitionsSpreadOverSlots(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 4, 8, 100, subject.MaxPartitions} {
		for p := range n {
			jobs := subject.Namespace{Name: "prod", Partitions: n}.Keys(p).Jobs()
			tag := jobs[1:strings.Index(jobs, "}")]
			if at := keySlot(tag); at < p*16384/n || at >= ((p+1)*16384+n-1)/n {
				t.Errorf("partition %d of %d has the tag %s in slot %d", p, n, tag, at)
			}
		}
	}
	if got := keySlot("123456789"); got != 0x31c3 { // the specification's own example
		t.Errorf("the test's slot function is wrong: %#x", got)
	}
}

// keySlot is written in another way than the package's own.
func keySlot(tag string) int {
	crc := 0
	for _, b := range []byte(tag) {
		for bit := 7; bit >= 0; bit-- {
			crc <<= 1
			if crc>>16&1 != int(b>>bit&1) {
				crc ^= 0x1021
			}
			crc &= 0xffff
		}
	}
	return crc % 16384
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"a:b", `"a:b":"c\x00"`, "a:", ":", `"`, `"a":`, "k:{}*", "\xff:\xfe", `a:"\u12"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := subject.Parse(text)
		if err != nil {
			if !errors.Is(err, subject.ErrInvalid) {
				t.Fatalf("Parse(%q): %v does not wrap ErrInvalid", text, err)
			}
			return
		}
		if again, err := subject.Parse(k.String()); err != nil || again != k {
			t.Fatalf("Parse(%q) = %#v, but its text %s parses to %#v, %v", text, k, k, again, err)
		}
		if back, err := subject.FromCanonical(k.Canonical()); err != nil || back != k {
			t.Fatalf("%#v does not come back from its canonical bytes: %#v, %v", k, back, err)
		}
	})
}

func ExampleParse() {
	k, _ := subject.Parse("artifact:42")
	fmt.Println(k.Kind, k.ID)
	fmt.Println(subject.Key{Kind: "file", ID: "two words"})
	// Output:
	// artifact 42
	// file:"two words"
}
