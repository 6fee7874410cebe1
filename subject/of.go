package subject

import (
	"reflect"
	"strconv"
)

// Of returns the key of a kind and an id. An integer stands as its decimal digits, so that
// Of("artifact", 42) and Of("artifact", "42") are the same key. The value itself counts: Of calls no
// String method of the id's type, since a release that changes its text would move the subject to
// another lane. Of checks nothing; [Key.Validate] does, and so does every enqueue.
func Of[T ~string |
	~int | ~int8 | ~int16 | ~int32 | ~int64 |
	~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~uintptr](kind string, id T) Key {
	return Key{Kind: kind, ID: bare(reflect.ValueOf(id))}
}

// bare is the text of a value that is a string or an integer.
func bare(v reflect.Value) string {
	switch {
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	}
	return v.String()
}
