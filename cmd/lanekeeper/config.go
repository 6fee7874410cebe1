package main

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"github.com/spf13/cobra"
)

// maxConfig is the most bytes that a --config file may have.
const maxConfig = 4 << 20

// readConfig fills in what no flag has set.
func (o *workOptions) readConfig(cmd *cobra.Command) error {
	if o.config == "" {
		return nil
	}
	text, err := readAll(inputFrom(cmd.Context(), o.config), maxConfig)
	if cmd.Context().Err() != nil {
		return err
	}
	if err != nil {
		return usage("--config %s: %w", o.config, err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	file, set, err := parseConfig(text)
	if err != nil {
		return usage("--config %s: %w", o.config, err)
	}
	flags := cmd.Flags()
	if !flags.Changed("concurrency") {
		o.Concurrency = file.Concurrency
	}
	if !flags.Changed("lease-ttl") {
		o.LeaseTTL = file.LeaseTTL
	}
	if !flags.Changed("timeout") {
		o.Timeout = file.Timeout
	}
	if !flags.Changed("stop-timeout") {
		o.StopTimeout = file.StopTimeout
		o.stopAtOnce = set["stop_timeout"] && file.StopTimeout == 0
	}
	if !flags.Changed("lane-batch") {
		o.LaneBatch = file.LaneBatch
	}
	o.Handlers, o.Kinds, o.Pools, o.PoolLimits = file.Handlers, file.Kinds, file.Pools, file.PoolLimits
	if !flags.Changed("blame") {
		o.Blame = file.Blame
	}
	if !flags.Changed("pass-redis") {
		o.app.passRedis = file.PassRedis
	}
	return nil
}

// checkFlags refuses zeros that would count as not typed.
func (o *workOptions) checkFlags(cmd *cobra.Command) error {
	f := cmd.Flags()
	switch {
	case f.Changed("concurrency") && o.Concurrency < 1:
		return usage("--concurrency %d must be 1 to 10000", o.Concurrency)
	case f.Changed("lease-ttl") && o.LeaseTTL <= 0:
		return usage("--lease-ttl %s must be 100ms to 24h", o.LeaseTTL)
	case f.Changed("timeout") && o.Timeout <= 0:
		return usage("--timeout %s must be 1ms to 100 years", o.Timeout)
	}
	o.stopAtOnce = f.Changed("stop-timeout") && o.StopTimeout == 0
	return nil
}

// parseConfig reads a file strictly. set has the settings at the top that are in it.
func parseConfig(text []byte) (file workOptions, set map[string]bool, err error) {
	for i, line := range bytes.Split(text, []byte("\n")) {
		if !utf8.Valid(line) {
			return file, nil, fmt.Errorf("line %d has bytes that are not UTF-8, which YAML can't carry", i+1)
		}
	}
	set = make(map[string]bool)
	tree, err := parser.ParseBytes(text, 0)
	if err == nil && len(tree.Docs) > 1 {
		return file, nil, errors.New("has several documents (---); only one is read")
	}
	if err == nil && len(tree.Docs) == 1 {
		err = eachValue(tree.Docs[0].Body, nil, func(path []string, value ast.Node) error {
			set[path[0]] = true
			return checkValue(path, value)
		})
	}
	if err == nil {
		err = yaml.UnmarshalWithOptions(text, &file, yaml.DisallowUnknownField())
	}
	return file, set, placed(text, err)
}

// eachValue calls see for every value that is not a mapping itself, with the names that lead to it.
func eachValue(node ast.Node, path []string, see func(path []string, value ast.Node) error) error {
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case nil:
		return nil
	default:
		if len(path) == 0 {
			return nil
		}
		return see(path, node)
	}
	for _, v := range values {
		if err := eachValue(v.Value, append(slices.Clone(path), v.Key.String()), see); err != nil {
			return err
		}
	}
	return nil
}

// The settings that are whole numbers, and those that are durations. A star is any name.
var (
	wholeSettings = []string{
		"concurrency", "lane_batch.*", "pools.*", "pool_limits.*", "kinds.*.max_attempts", "kinds.*.limit", "kinds.*.priority", "kinds.*.dead_max",
	}
	spanSettings = []string{
		"lease_ttl", "timeout", "stop_timeout", "kinds.*.timeout", "kinds.*.keep", "kinds.*.dead_keep", "kinds.*.every", "kinds.*.expected",
		"kinds.*.backoff.base", "kinds.*.backoff.cap", "kinds.*.unique.window",
	}
	mayBeZero = []string{
		"kinds.*.priority", "stop_timeout", "kinds.*.timeout", "kinds.*.keep", "kinds.*.dead_keep", "kinds.*.dead_max", "kinds.*.expected", "kinds.*.backoff.base", "kinds.*.backoff.cap",
	}
)

// checkValue refuses what the YAML package would take for something else without a word: 1.5 for
// 1, and a zero for the default.
func checkValue(path []string, value ast.Node) error {
	name := strings.Join(path, ".")
	bad := func(rule string) error {
		return &valueError{value.GetToken(), fmt.Sprintf("%s: %s must be %s", name, value, rule)}
	}
	text, isText := value.(*ast.StringNode)
	number, isNumber := value.(*ast.IntegerNode)
	zero := isNumber && fmt.Sprint(number.Value) == "0"
	switch value.(type) {
	case *ast.NullNode, *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
		return nil
	}
	switch {
	case among(wholeSettings, path):
		if isText {
			return nil // the YAML package takes "3" for 3, and nothing else
		}
		if !isNumber {
			return bad("a whole number")
		}
	case among(spanSettings, path):
		var d time.Duration
		var err error
		if isText {
			d, err = time.ParseDuration(text.Value)
		}
		if !isText || err != nil {
			return bad("a duration such as 100ms, 90s or 10m")
		}
		zero = d == 0
	default:
		return nil
	}
	if zero && !among(mayBeZero, path) {
		return bad("more than 0; leave it out for the default")
	}
	return nil
}

func among(patterns, path []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		parts := strings.Split(pattern, ".")
		return slices.EqualFunc(parts, path, func(part, name string) bool { return part == "*" || part == name })
	})
}

// valueError is what is wrong with a value, and where it is.
type valueError struct {
	at   *token.Token
	text string
}

func (e *valueError) Error() string { return e.text }

// goTypes matches what the YAML package says of a value of another type.
var goTypes = regexp.MustCompile(`cannot unmarshal (.+) into Go .+ of type .+`)

// placed says where an error is, with the whole line.
func placed(text []byte, err error) error {
	var own *valueError
	var theirs yaml.Error
	var at *token.Token
	says := ""
	switch {
	case errors.As(err, &own):
		at, says = own.at, own.text
	case errors.As(err, &theirs):
		at, says = theirs.GetToken(), goTypes.ReplaceAllString(theirs.GetMessage(), "a value of another kind than $1 is wanted here")
	default:
		return err
	}
	lines := strings.Split(string(text), "\n")
	if at == nil || at.Position == nil || at.Position.Line < 1 || at.Position.Line > len(lines) {
		return errors.New(says)
	}
	line := strings.TrimRight(lines[at.Position.Line-1], "\r")
	number := fmt.Sprint(at.Position.Line)
	return fmt.Errorf("line %s: %s\n  %s | %s\n  %s   %s^", number, says, number, printable(strings.ReplaceAll(line, "\t", " ")),
		strings.Repeat(" ", len(number)), strings.Repeat(" ", max(0, at.Position.Column-1)))
}
