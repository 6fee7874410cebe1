package script

import (
	"strings"
	"testing"
)

func TestLinkKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	shared := "local a = 1\n\nlocal function low()\n  return a\nend\n\n-- low, mid and unused\nlocal function mid()\n  return low()\nend\n" +
		"\nlocal b = 2\n\nlocal function unused()\n  if a then\n    return b\n  end\nend\n"
	want := "local a = 1\n\nlocal function low()\n  return a\nend\n\n-- low, mid and unused\nlocal function mid()\n  return low()\nend\n" +
		"\nlocal b = 2\n\nreturn mid() -- unused\n"
	if got := link("return mid() -- unused\n", shared); got != want {
		t.Errorf("linked\n%s\nwant\n%s", got, want)
	}
	// A field may have the name of a function; what is joined by dots is no field.
	if got := link("return t.unused, t.low\n", shared); strings.Contains(got, "function") {
		t.Errorf("fields are taken for functions:\n%s", got)
	}
	if got := link("return 'a'..low()\n", shared); !strings.Contains(got, "function low()") {
		t.Errorf("a function behind two dots is missing:\n%s", got)
	}
}
