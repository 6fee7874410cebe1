package subject

import (
	"strconv"
	"strings"
	"time"
)

// Keys names the Redis keys of one partition. They share a hash tag (see [tag]), so
// any of them may meet in one script on a cluster.
//
// The comments give the type and content. "Subject" is always the canonical
// bytes, "id" a packed job id, and "entry" what stands in a lane for a job; all forms have
// their pages in internal/record.
type Keys struct {
	base string
}

// Keys returns the key names of a partition. Finding its tag takes some trying, so
// callers keep what they got.
func (ns Namespace) Keys(partition int) Keys {
	return Keys{base: "{" + ns.tag(partition) + "}:"}
}

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// tag returns "namespace:partition", or "namespace:partition.n" with the smallest n that
// puts it into the partition's even share of the hash slots. A cluster gives each
// master a run of slots, so its masters get the same number of partitions, give or
// take one, and not what chance would give them.
func (ns Namespace) tag(partition int) string {
	plain := ns.Name + ":" + strconv.Itoa(partition)
	for n, tag := 0, plain; ; n++ {
		if slot(tag)*ns.Partitions/slots == partition {
			return tag
		}
		tag = plain + "." + strconv.Itoa(n)
	}
}

// slot is the hash slot of a tag: CRC-16/XMODEM modulo the number of slots, as the
// Redis Cluster specification has it.
func slot(tag string) int {
	crc := uint16(0)
	for _, b := range []byte(tag) {
		crc ^= uint16(b) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return int(crc % slots)
}

// Registry is a hash: job kind -> its declaration, as JSON.
func (ns Namespace) Registry() string { return "{" + ns.Name + "}:registry" }

// Versions is a hash: job kind -> the last version of its declaration, also of one that is gone; and
// "<kind> retention" -> how long it keeps its dead letters, and how many.
func (ns Namespace) Versions() string { return "{" + ns.Name + "}:versions" }

// Repairing is a string: who repairs the namespace.
func (ns Namespace) Repairing() string { return "{" + ns.Name + "}:repairing" }

// Holds is a hash: id -> a hold of operators, "" -> the version of the policy that all of them make, "#" -> the number
// of the last one. What a partition obeys of them is in its Clock.
func (ns Namespace) Holds() string { return "{" + ns.Name + "}:holds" }

// Request is a string: what a change of the holds was answered, for the case that go-redis repeats it.
func (ns Namespace) Request(caller string) string { return "{" + ns.Name + "}:request:" + caller }

// Audit is a stream: what operators did that is no partition's. It keeps the latest.
func (ns Namespace) Audit() string { return "{" + ns.Name + "}:audit" }

// Waits is a hash: subject -> "<until> <token> <subject>": who has the lease of the first with that
// token waits for the other.
func (ns Namespace) Waits() string { return "{" + ns.Name + "}:waits" }

// Durations is a hash: "<outcome> <bucket>" -> how many attempts of a kind ended so.
func (ns Namespace) Durations(kind string) string { return "{" + ns.Name + "}:durations:" + kind }

// Flow is a hash: a minute's or ten minutes' slot, and ending -> how many attempts of a kind ended so then, and for how long
// their handlers ran.
func (ns Namespace) Flow(kind string) string { return "{" + ns.Name + "}:flow:" + kind }

// Hot is a hash: the place of ten minutes -> which they are, and for how long handlers ran then.
func (ns Namespace) Hot() string { return "{" + ns.Name + "}:hot" }

// HotAt is a zset: subject -> for how long its handlers ran in the ten minutes that have that place.
func (ns Namespace) HotAt(place string) string { return "{" + ns.Name + "}:hot:" + place }

// Recorded is a string: the number of the last record of durations or attempts that a session has made.
func (ns Namespace) Recorded(holder string) string { return "{" + ns.Name + "}:recorded:" + holder }

// Trail is a list of the attempts that ended last in the namespace, the latest in front.
func (ns Namespace) Trail() string { return "{" + ns.Name + "}:trail" }

// TrailOf is a list of the attempts at jobs of a subject that somebody watches.
func (ns Namespace) TrailOf(subject string) string { return "{" + ns.Name + "}:trail:" + subject }

// Watched is a zset: subject -> until when all its attempts are remembered, Unix milliseconds.
func (ns Namespace) Watched() string { return "{" + ns.Name + "}:watched" }

// Meta is a hash about the whole namespace: version and number of partitions.
func (ns Namespace) Meta() string { return "{" + ns.Name + "}:meta" }

// Workers is a hash: holder -> what that worker process said of itself.
func (ns Namespace) Workers() string { return "{" + ns.Name + "}:workers" }

// Seen is a zset: holder -> time of its last sign of life, Unix milliseconds.
func (ns Namespace) Seen() string { return "{" + ns.Name + "}:seen" }

// Jobs is a hash: id -> encoded job. A job is here from its enqueue until it
// is finished or discarded, wherever else its id stands.
func (k Keys) Jobs() string { return k.base + "jobs" }

// Heads is a hash: subject -> entry of the lane's head. A lane exists exactly
// while it has a field here.
func (k Keys) Heads() string { return k.base + "heads" }

// Tail is a list of entries: what waits in a lane behind its head.
func (k Keys) Tail(subject string) string { return k.base + "tail:" + subject }

// Leases is a hash: subject -> the one record of who holds it, what for, and whether something is asked
// of the holder.
func (k Keys) Leases() string { return k.base + "leases" }

// Deadlines is a zset: subject -> when its lease ends, Unix milliseconds.
func (k Keys) Deadlines() string { return k.base + "deadlines" }

// Parked is a zset: subject -> when to look at the lane again, Unix milliseconds; infinite is never by itself. It has
// the lanes that may not be claimed now though nobody holds them, those without jobs among them.
func (k Keys) Parked() string { return k.base + "parked" }

// Scheduled is a zset: subject, number and entry -> when the job takes its place in the lane.
func (k Keys) Scheduled() string { return k.base + "scheduled" }

// Dead is a zset: id -> when the job became a dead letter.
func (k Keys) Dead() string { return k.base + "dead" }

// Reasons is a hash: id -> attempts, reason and error of a dead letter.
func (k Keys) Reasons() string { return k.base + "reasons" }

// Notes is a hash: id -> what has come of a job so far, of those of which there is anything to say.
func (k Keys) Notes() string { return k.base + "notes" }

// Clock is a hash: the last token and the last lane sequence number given out, and how many bytes
// are kept in Outcomes, ids among them; and how many the largest job has, if any has more than 8 KiB; and the policy,
// which is what operators hold.
func (k Keys) Clock() string { return k.base + "clock" }

// Kinds is a set of the job kinds that were ever enqueued in the partition.
func (k Keys) Kinds() string { return k.base + "kinds" }

// Ready is a list of subjects: the ready lanes whose head has this job kind,
// next to be claimed first.
func (k Keys) Ready(kind string) string { return k.base + "ready:" + kind }

// Wake is a zset that blocked workers wait for, with at most the members "ready"
// (a lane of this kind became ready) and "due" (something falls due earlier than
// was known). Both are hints, and never the truth.
func (k Keys) Wake(kind string) string { return k.base + "wake:" + kind }

// ParkReasons is a hash: subject -> why the lane is parked.
func (k Keys) ParkReasons() string { return k.base + "park_reasons" }

// Asks is a hash: subject -> what an operator asks of its holder.
func (k Keys) Asks() string { return k.base + "asks" }

// Unique is a hash: subject, kind and key -> id of the job that has the unique key.
func (k Keys) Unique() string { return k.base + "unique" }

// Names is a hash: id -> jobs merged into it, rules and field in Unique, of jobs that have a unique key.
func (k Keys) Names() string { return k.base + "names" }

// Outcomes is a hash: id -> how the job ended, of those whose kind keeps outcomes.
func (k Keys) Outcomes() string { return k.base + "outcomes" }

// Expiring is a zset of what goes by itself at a time: outcomes, and tickets whose owners have not been
// heard of.
func (k Keys) Expiring() string { return k.base + "expiring" }

// Ended is a zset: id -> when the job ended, Unix milliseconds, of those in Outcomes.
func (k Keys) Ended() string { return k.base + "ended" }

// Windows is a zset: field of Unique -> until when the key stays taken, whatever becomes of its job.
func (k Keys) Windows() string { return k.base + "windows" }

// Policy is a string: the policy once more, for the case that the clock is lost.
func (k Keys) Policy() string { return k.base + "policy" }

// Barring is a set of the holds for which lanes are parked, and Barred a list of those lanes, for each such hold.
func (k Keys) Barring() string { return k.base + "barring" }

// Barred: see Barring.
func (k Keys) Barred(hold string) string { return k.base + "barred:" + hold }

// Limits is a hash: name of a limit -> what is declared of it, and "<name> next" -> when the next start may
// be, ms. Who is short of it stands in line:<name> and places:<name>, which scripts name.
func (k Keys) Limits() string { return k.base + "limits" }

// Audit is a stream: what operators did in the partition. It keeps the latest.
func (k Keys) Audit() string { return k.base + "audit" }

// News is the channel on which it is said that something has happened to a job, a
// ticket or a holder. Messages are hints, and never the truth.
func (k Keys) News(name string) string { return k.base + "news:" + name }

// Request is a string: the number and the reply of the last request of one
// caller, for the case that go-redis repeats it. It expires; no meaning is lost.
func (k Keys) Request(caller string) string { return k.base + "request:" + caller }

// LostAndFound is where a key goes that was not of its type at a time.
func (k Keys) LostAndFound(key string, at time.Time) string {
	return k.base + "lost+found:" + strconv.FormatInt(at.UnixNano(), 10) + ":" + strings.TrimPrefix(key, k.base)
}

// Pattern matches all keys of the partition, for SCAN.
func (k Keys) Pattern() string { return k.base + "*" }

// TrimTail returns the subject that a tail key belongs to, or false for another key.
func (k Keys) TrimTail(key string) (string, bool) {
	prefix := k.Tail("")
	if len(key) <= len(prefix) || key[:len(prefix)] != prefix {
		return "", false
	}
	return key[len(prefix):], true
}

// Fixed returns the keys that every script gets as KEYS[1] to KEYS[11], in the
// order in which internal/script/partition.lua names them.
func (k Keys) Fixed() []string {
	return []string{
		k.Jobs(), k.Heads(), k.Leases(), k.Deadlines(), k.Parked(), k.Scheduled(),
		k.Dead(), k.Reasons(), k.Notes(), k.Clock(), k.Kinds(),
	}
}
