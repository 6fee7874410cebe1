// Package move is for operators who do something with a whole namespace: find those of a server, remove one, export and
// import one, bring one to the schema of this release. Applications and pools need none of it. It works on a client and a
// name where others work on a [dispatcher.Dispatcher], because what it is about can be of another release, which nobody
// can open here.
//
// # What keeps others away
//
// While all of a namespace is moved its meta says so, in the place of its schema: so every release refuses to open it
// with [dispatcher.ErrMismatch], and names the command that goes on. A process that has opened it before is not told,
// which is why each verb looks for workers that live, names them, and does nothing then.
//
// Each verb goes by small steps, and goes on where it stopped when it is called again. Of two calls at once the later one takes over, and
// Redis refuses what the earlier one still writes.
//
// Reading order: namespaces.go finds, remove.go removes; format.go has the lines of an export, export.go and part.go write
// them; reader.go, item.go and check.go read them, import.go brings them; migrate.go has the steps between schemas, schema6.go the first.
package move
