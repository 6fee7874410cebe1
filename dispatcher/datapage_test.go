package dispatcher_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/lanekeeper/lanekeeper/subject"
)

// docs/data.md has every key by its name, and shows nothing that is not stored so.
func TestDataPage(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page, stored := read("../docs/data.md"), "\n"+read("testdata/records.txt")
	listed := make(map[string]string) // key -> who writes it
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`<]+)[^`]*` \\|.*\\| ([^|]+) \\|$").FindAllStringSubmatch(page, -1) {
		listed[row[1]] = row[2]
	}
	for _, keys := range []any{subject.Namespace{Name: "n", Partitions: 1}, subject.Namespace{Name: "n", Partitions: 1}.Keys(0)} {
		v := reflect.ValueOf(keys)
		for i := range v.NumMethod() {
			name, m := v.Type().Method(i).Name, v.Method(i).Type()
			if m.NumOut() != 1 || m.Out(0).Kind() != reflect.String || m.NumIn() > 1 || m.NumIn() == 1 && m.In(0).Kind() != reflect.String ||
				name == "Pattern" || name == "News" { // no keys: a pattern and a channel
				continue
			}
			args := make([]reflect.Value, m.NumIn())
			for k := range args {
				args[k] = reflect.ValueOf("")
			}
			_, key, _ := strings.Cut(v.Method(i).Call(args)[0].String(), "}:")
			if listed[key] == "" {
				t.Errorf("docs/data.md does not have the key %q of %s", key, name)
			}
		}
	}
	for key, writers := range listed {
		for _, writer := range strings.Split(writers, ", ") {
			_, here := os.Stat("internal/lanes/" + writer + ".lua")
			_, there := os.Stat("../lease/" + writer + ".lua")
			if writer != "most" && strings.ToLower(writer) == writer && here != nil && there != nil {
				t.Errorf("docs/data.md says that %s is written by %s, and there is no such script", key, writer)
			}
		}
	}
	samples := regexp.MustCompile(`(?m)^    (\S+ ".*)$`).FindAllStringSubmatch(page, -1)
	if len(samples) < 20 {
		t.Errorf("docs/data.md shows %d samples", len(samples))
	}
	for _, sample := range samples {
		if !strings.Contains(stored, "\n0:"+sample[1]+"\n") && !strings.Contains(stored, "\n:"+sample[1]+"\n") {
			t.Errorf("docs/data.md shows %s, which nothing in testdata/records.txt is", sample[1])
		}
	}
}

// docs/a-jobs-way.md leads to files that are there.
func TestAJobsWayNamesFiles(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/a-jobs-way.md")
	if err != nil {
		t.Fatal(err)
	}
	files := regexp.MustCompile("`([a-z/-]+\\.(?:go|lua))`").FindAllStringSubmatch(string(page), -1)
	if len(files) < 30 {
		t.Errorf("it names %d files", len(files))
	}
	for _, file := range files {
		_, here := os.Stat(file[1]) // from dispatcher/, where the rooms are
		_, inside := os.Stat("internal/" + file[1])
		_, there := os.Stat("../" + file[1])
		if here != nil && inside != nil && there != nil {
			t.Errorf("docs/a-jobs-way.md names %s, which is nowhere", file[1])
		}
	}
}
