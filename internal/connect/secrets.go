package connect

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// shortest is the least bytes of a password that is looked for by itself: a shorter one is in every
// other word, and is no secret.
const shortest = 4

var percents = regexp.MustCompile(`%[0-9A-F]{2}`)

// Secrets are the texts of an address that nobody else may see, the longest first: the address
// itself when it holds a password, and its passwords in all the ways in which they are written.
func Secrets(address string) (secrets []string) {
	user, _, query := parts(address)
	_, password, _ := strings.Cut(user, ":")
	values, _ := url.ParseQuery(query)
	written := []string{password, values.Get("sentinel_password"), values.Get("password")}
	for _, text := range written {
		if text == "" {
			continue
		}
		plain, err := url.PathUnescape(text)
		if err != nil {
			plain = text
		}
		coded, _ := json.Marshal(plain)
		secrets = append(secrets, address, text, plain, url.QueryEscape(plain), url.PathEscape(plain),
			strings.TrimPrefix(url.UserPassword("", plain).String(), ":"),
			strings.Trim(string(coded), `"`), strings.ReplaceAll(strings.Trim(string(coded), `"`), "/", `\/`),
			strings.Trim(strconv.Quote(plain), `"`))
	}
	for _, s := range slices.Clone(secrets) { // other libraries write hexadecimal digits small
		secrets = append(secrets, percents.ReplaceAllStringFunc(s, strings.ToLower))
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < shortest })
	slices.SortFunc(secrets, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(secrets)
}

// Place is an address without anything that may be a secret: it says which server is meant.
func Place(address string) string {
	scheme, _, _ := strings.Cut(address, "://")
	_, rest, _ := parts(address)
	return scheme + "://" + rest
}

// parts cuts an address into user and password, what names the server, and parameters.
func parts(address string) (user, rest, query string) {
	_, rest, _ = strings.Cut(address, "://")
	rest, query, _ = strings.Cut(rest, "?")
	authority, _, _ := strings.Cut(rest, "/")
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		return authority[:at], rest[at+1:], query
	}
	return "", rest, query
}
