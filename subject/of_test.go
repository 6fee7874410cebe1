package subject_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/lanekeeper/lanekeeper/subject"
)

type branch string

func (branch) String() string { return "something else" }

type number uint16

// Every type of id gives the text of its value, whatever its String method says.
func TestOf(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]subject.Key{
		"text":                 subject.Of("k", "text"),
		"bytes \x00\xff":       subject.Of("k", "bytes \x00\xff"),
		"main":                 subject.Of("k", branch("main")),
		"42":                   subject.Of("k", 42),
		"-1":                   subject.Of("k", -1),
		"-128":                 subject.Of("k", int8(math.MinInt8)),
		"-32768":               subject.Of("k", int16(math.MinInt16)),
		"97":                   subject.Of("k", 'a'),
		"-9223372036854775808": subject.Of("k", int64(math.MinInt64)),
		"5":                    subject.Of("k", time.Friday),
		"1000000000":           subject.Of("k", time.Second),
		"0":                    subject.Of("k", uint(0)),
		"255":                  subject.Of("k", uint8(math.MaxUint8)),
		"65535":                subject.Of("k", number(math.MaxUint16)),
		"4294967295":           subject.Of("k", uint32(math.MaxUint32)),
		"18446744073709551615": subject.Of("k", uint64(math.MaxUint64)),
		"17":                   subject.Of("k", uintptr(17)),
	} {
		if got != (subject.Key{Kind: "k", ID: want}) {
			t.Errorf("%#v has the id %q, want %q", got, got.ID, want)
		}
	}
}

// A key that is not usable is found by Validate, as one that was written out.
func TestOfChecksNothing(t *testing.T) {
	t.Parallel()
	for _, k := range []subject.Key{subject.Of("", "id"), subject.Of("kind", "")} {
		if err := k.Validate(); !errors.Is(err, subject.ErrInvalid) {
			t.Errorf("%#v: %v, want ErrInvalid", k, err)
		}
	}
	if k := subject.Of(subject.SlotKind, 1); k.Kind != subject.SlotKind || k.Validate() != nil {
		t.Errorf("%#v is not the key of its parts", k)
	}
}

func ExampleOf() {
	fmt.Println(subject.Of("artifact", 42))
	fmt.Println(subject.Of("repo", "main"))
	// Output:
	// artifact:42
	// repo:main
}
