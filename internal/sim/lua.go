package sim

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2/server"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// interpreter runs scripts in miniredis's place. Miniredis makes an interpreter with all its libraries
// anew for each script, which was more than half of what a simulation took; this one stays. The
// commands that scripts call are miniredis's own.
type interpreter struct {
	world   *World
	state   *lua.LState
	scripts map[string]*program   // by SHA-1, as SCRIPT FLUSH leaves them
	inTx    map[*server.Peer]bool // what these send is queued, and miniredis's business

	inner any // what miniredis knows a command of a script by
	peer  *server.Peer
	said  bytes.Buffer
	reply *bufio.Reader

	counts []int // how often each branch ran, by its number
}

// program is a script that can be run, and the numbers of the words that it may answer.
type program struct {
	proto *lua.FunctionProto
	words map[string]int
}

// compiled scripts are shared by all worlds.
var compiled sync.Map

func newInterpreter(w *World) *interpreter {
	in := &interpreter{
		world: w, state: lua.NewState(lua.Options{SkipOpenLibs: true}),
		scripts: make(map[string]*program), inTx: make(map[*server.Peer]bool), reply: bufio.NewReader(nil),
	}
	in.peer = server.NewPeer(bufio.NewWriter(&in.said))
	l := in.state
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString, lua.MathLibName: lua.OpenMath,
	} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	module := l.NewTable()
	module.RawSetString("call", l.NewFunction(func(l *lua.LState) int { return in.call(l, true) }))
	module.RawSetString("pcall", l.NewFunction(func(l *lua.LState) int { return in.call(l, false) }))
	module.RawSetString("ran", l.NewFunction(func(l *lua.LState) int { in.ran(int(l.ToNumber(1))); return 0 }))
	l.G.Global.RawSetString("redis", module)
	guard := l.NewTable()
	guard.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Script attempted to access nonexistent global variable '%s'", l.ToString(2))
		return 0
	}))
	guard.RawSetString("__newindex", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("Script attempted to create global variable '%s'", l.ToString(2))
		return 0
	}))
	l.G.Global.Metatable = guard
	return in
}

// serve runs a command that is a script's, and reports whether it was one. Miniredis runs those in
// a transaction.
func (in *interpreter) serve(c *server.Peer, cmd string, args []string) bool {
	in.world.mini.Lock()
	defer in.world.mini.Unlock()
	switch {
	case cmd == "MULTI":
		in.inTx[c] = true
		return false
	case cmd == "EXEC" || cmd == "DISCARD":
		delete(in.inTx, c)
		return false
	case cmd == "SCRIPT":
		clear(in.scripts) // flushed, of all that anybody here asks
		return false
	case cmd != "EVAL" && cmd != "EVALSHA" || len(args) < 2 || in.inTx[c]:
		return false
	}
	script := in.scripts[args[0]]
	if cmd == "EVAL" {
		var err error
		if script, err = compile(args[0]); err != nil {
			c.WriteError("ERR Error compiling script (new function): " + err.Error())
			return true
		}
		sum := sha1.Sum([]byte(args[0]))
		in.scripts[hex.EncodeToString(sum[:])] = script
	}
	if script == nil {
		c.WriteError("NOSCRIPT No matching script. Please use EVAL.")
		return true
	}
	n, err := strconv.Atoi(args[1])
	if err != nil || n < 0 || n > len(args)-2 {
		c.WriteError("ERR Number of keys can't be greater than number of args")
		return true
	}
	in.run(c, script, args[2:2+n], args[2+n:])
	return true
}

func compile(source string) (*program, error) {
	if p, ok := compiled.Load(source); ok {
		return p.(*program), nil
	}
	chunk, err := parse.Parse(strings.NewReader(counted(source)), "<string>")
	if err != nil {
		return nil, err
	}
	proto, err := lua.Compile(chunk, "")
	if err != nil {
		return nil, err
	}
	p := &program{proto, make(map[string]int)}
	if all := headers(source); all != nil { // the last file is the verb's own
		own := all[len(all)-1]
		for _, word := range outcomes(source[own[0]:]) {
			p.words[word] = numberOf(outcome(source[own[2]:own[3]], word))
		}
	}
	compiled.Store(source, p)
	return p, nil
}

// ran counts a branch, unless nothing goes wrong any more.
func (in *interpreter) ran(number int) {
	if in.world.calm.Load() {
		return
	}
	for len(in.counts) <= number {
		in.counts = append(in.counts, 0)
	}
	in.counts[number]++
}

func (in *interpreter) run(c *server.Peer, script *program, keys, args []string) {
	l := in.state
	defer l.SetTop(0)
	l.G.Global.RawSetString("KEYS", in.texts(keys))
	l.G.Global.RawSetString("ARGV", in.texts(args))
	l.Push(l.NewFunctionFromProto(script.proto))
	if err := l.PCall(0, 1, nil); err != nil {
		c.WriteError("ERR Error compiling script (new function): " + err.Error())
		return
	}
	reply := l.Get(-1)
	if all, ok := reply.(*lua.LTable); ok && len(script.words) > 0 {
		all.ForEach(func(_, v lua.LValue) {
			if number, ok := script.words[v.String()]; ok {
				in.ran(number)
			}
		})
	}
	answer(c, reply)
}

func (in *interpreter) texts(all []string) *lua.LTable {
	t := in.state.CreateTable(len(all), 0)
	for _, s := range all {
		t.Append(lua.LString(s))
	}
	return t
}

// call runs a command of a script.
func (in *interpreter) call(l *lua.LState, fails bool) int {
	args := make([]string, l.GetTop())
	for i := range args {
		switch a := l.Get(i + 1).(type) {
		case lua.LString:
			args[i] = string(a)
		case lua.LNumber:
			args[i] = a.String()
		default:
			l.RaiseError("Lua redis lib command arguments must be strings or integers")
		}
	}
	in.said.Reset()
	in.peer.Ctx = in.inner
	in.world.mini.Server().Dispatch(in.peer, args)
	in.peer.Flush()
	in.reply.Reset(&in.said)
	reply, err := server.ParseReply(in.reply)
	if err == nil {
		l.Push(value(l, reply))
		return 1
	}
	if fails {
		l.Error(lua.LString(err.Error()), 1)
	}
	t := l.NewTable()
	t.RawSetString("err", lua.LString(err.Error()))
	l.Push(t)
	return 1
}

func value(l *lua.LState, reply any) lua.LValue {
	switch r := reply.(type) {
	case nil:
		return lua.LFalse
	case int:
		return lua.LNumber(r)
	case int64:
		return lua.LNumber(r)
	case []byte:
		return lua.LString(r)
	case string:
		return lua.LString(r)
	case server.Simple:
		t := l.NewTable()
		t.RawSetString("ok", lua.LString(r))
		return t
	}
	all := reply.([]any)
	t := l.CreateTable(len(all), 0)
	for _, r := range all {
		t.Append(value(l, r))
	}
	return t
}

// answer writes what a script returns.
func answer(c *server.Peer, v lua.LValue) {
	switch v := v.(type) {
	case lua.LNumber:
		c.WriteInt(int(v))
	case lua.LString:
		c.WriteBulk(string(v))
	case *lua.LTable:
		if e := v.RawGetString("err"); e != lua.LNil {
			c.WriteError(e.String())
			return
		}
		if ok := v.RawGetString("ok"); ok != lua.LNil {
			c.WriteInline(ok.String())
			return
		}
		n := 0
		for v.RawGetInt(n+1) != lua.LNil {
			n++
		}
		c.WriteLen(n)
		for i := 1; i <= n; i++ {
			answer(c, v.RawGetInt(i))
		}
	default:
		if lua.LVAsBool(v) {
			c.WriteInt(1)
		} else {
			c.WriteNull()
		}
	}
}
