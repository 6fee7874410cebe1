package record

import "encoding/binary"

// Scheduled is how a job stands on the schedule: its subject, its number in five bytes, by which those
// that fall due at the same moment are in order, and its entry. The member says all that placing
// needs, so that no script has to decode a job.
func Scheduled(canonical string, order int64, entry string) string {
	number := binary.BigEndian.AppendUint64(nil, uint64(order))
	return WithSubject(canonical, string(number[8-seqBytes:])+entry)
}

// ParseScheduled is the inverse of Scheduled.
func ParseScheduled(member string) (canonical string, order int64, entry string, ok bool) {
	canonical, rest, ok := CutSubject(member)
	if !ok || len(rest) < seqBytes {
		return "", 0, "", false
	}
	_, ok = ParseEntry(rest[seqBytes:])
	return canonical, number(rest[:seqBytes]), rest[seqBytes:], ok
}
