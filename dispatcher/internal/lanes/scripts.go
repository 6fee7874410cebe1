package lanes

import (
	"cmp"
	"embed"
	"strings"

	"github.com/lanekeeper/lanekeeper/internal/script"
	"github.com/lanekeeper/lanekeeper/lease"
)

//go:embed *.lua parts/*.lua
var sources embed.FS

// Lua is what all verbs that change lanes share, in this order: each part may use those before it. A function that a
// script does not use is left out when it is put together (internal/script, link).
var Lua = parts("notes", "locate", "lane", "taken", "kept", "fates", "due", "ending", "lot", "holding", "rolling", "finishing", "claiming", "handing", "leaving", "cleaning", "mending", "arriving", "rivals", "placing", "acting")

// scripts has every verb's script by the name of its file. It is filled while the package is initialized, and
// only read after that.
var scripts = make(map[string]*script.Script)

// Script returns the script of a verb, for tests that send what its Go twin never would.
func Script(verb string) *script.Script { return scripts[verb] }

// verb makes the script of a file that may change lanes. That is cheap: its text is put together when it is
// first called.
func verb(name string) *script.Script {
	return add(script.New(name, read(name+".lua"), lease.Lua, Lua))
}

// permit makes the script of a file that is about limits, in their home partition. It sees no lane: limits and
// lanes may be in different hash slots.
func permit(name string) *script.Script {
	return add(script.New(name, read(name+".lua"), lease.Lua, parts("short")))
}

// whole makes the script of a file that is about the namespace and no partition of it.
func whole(name string) *script.Script { return add(script.NewWhole(name, read(name+".lua"))) }

// shownAs has the names, as errors show them, of those that are not named as their files.
var shownAs = map[string]string{"giveback": "give back", "aside": "set aside", "suspendjob": "suspend job", "keeprepair": "keep a repair", "measure": "record durations", "trail": "record attempts", "hot": "record time by subject"}

func add(s *script.Script) *script.Script {
	scripts[s.Name] = s
	s.Name = cmp.Or(shownAs[s.Name], s.Name)
	return s
}

func read(name string) string {
	text, err := sources.ReadFile(name)
	if err != nil {
		panic(err) // it is built in
	}
	return string(text)
}

// parts are the texts of files in parts/, one behind the other.
func parts(names ...string) string {
	var all strings.Builder
	for _, name := range names {
		all.WriteString(read("parts/" + name + ".lua"))
		all.WriteByte('\n')
	}
	return all.String()
}
