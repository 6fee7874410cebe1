package script

import "testing"

func TestLinkKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	shared := "local a = 1\n\nlocal function low()\n  return a\nend\n\n-- low, mid and unused\nlocal function mid()\n  return low()\nend\n" +
		"\nlocal b = 2\n\nlocal function unused()\n  if a then\n    return b\n  end\nend\n"
	want := "local a = 1\n\nlocal function low()\n  return a\nend\n\n-- low, mid and unused\nlocal function mid()\n  return low()\nend\n" +
		"\nlocal b = 2\n\nreturn mid() -- unused\n"
	if got := link("return mid() -- unused\n", shared); got != want {
		t.Errorf("linked\n%s\nwant\n%s", got, want)
	}
}
