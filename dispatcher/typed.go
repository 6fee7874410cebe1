package dispatcher

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/lanekeeper/lanekeeper/subject"
)

// TypedKind is a job kind together with the type of its payloads, which are JSON values. Producers
// and handlers share one such value, and a payload of another type does not compile. [KindOf] makes
// it.
//
// The rules of [Kind] are its fields. They count once the kind is registered: the program passes the
// embedded Kind to [Connect] or in [Config].Kinds. A kind that is not registered needs its name
// alone, and a namespace with no registered kinds.
type TypedKind[T any] struct {
	Kind
}

// KindOf returns the kind of that name, whose payloads are of type T. It checks nothing: a
// malformed name is an error of whoever registers or enqueues, and of a pool that is to handle it.
func KindOf[T any](name string) TypedKind[T] {
	return TypedKind[T]{Kind{Name: name}}
}

// Job returns a job of the kind for a subject, with a payload as JSON. The caller may set its other
// fields, such as ID or Delay, and hands it to [Dispatcher.Enqueue] or [Dispatcher.EnqueueMany],
// which check all of it, the key too. The error wraps [ErrInvalid] when JSON has no form for the payload; it names
// the kind and the type at fault, and shows nothing of the payload.
//
// Texts in a payload have to be UTF-8: encoding/json replaces bytes that are not, without an error.
func (k TypedKind[T]) Job(key subject.Key, payload T) (NewJob, error) {
	encoded, err := json.Marshal(payload)
	if err != nil {
		return NewJob{}, fmt.Errorf("%w: payload of kind %q can't be JSON: %s", ErrInvalid, k.Name, formless(err))
	}
	return NewJob{Subject: key, Kind: k.Name, Payload: encoded}, nil
}

// Enqueue puts a job of the kind at the tail of a subject's lane. It calls Job and
// [Dispatcher.Enqueue], and returns the errors of both. Each call gives its job a new id, so a call
// that is repeated after "not known whether it was stored" may store two; a caller who minds takes
// Job and sets an ID.
func (k TypedKind[T]) Enqueue(ctx context.Context, d *Dispatcher, key subject.Key, payload T) (EnqueueResult, error) {
	job, err := k.Job(key, payload)
	if err != nil {
		return EnqueueResult{}, err
	}
	return d.Enqueue(ctx, job)
}

// formless says what JSON has no form for. It says so by types: the error's own text may quote the
// payload, and errors go into logs, whose readers have no right to that (G14).
func formless(err error) string {
	switch e := err.(type) { // not errors.As: within it may be anything that a user's method made up
	case *json.UnsupportedTypeError:
		return fmt.Sprintf("it has no form for a %s", e.Type)
	case *json.UnsupportedValueError:
		return fmt.Sprintf("it has no form for this value of a %s", e.Value.Type())
	case *json.MarshalerError:
		return fmt.Sprintf("the marshal method of %s fails", e.Type)
	}
	return "a key of a map fails to be a text, or a json.Number is no number"
}
