package session

import (
	"bytes"
	"hash/maphash"
	"time"

	"github.com/lanekeeper/lanekeeper/dispatcher/internal/lanes"
	"github.com/lanekeeper/lanekeeper/subject"
)

// hot adds up for how long handlers ran, by subject, in 64 places however many subjects there are (Misra and Gries, "Finding repeated
// elements"). Where all are taken a new subject and those that are there give up the same time each, until one has none left: so what
// a place has is never too much, and a subject that had more than a 65th of all has one.
type hot struct {
	all    time.Duration // of all subjects
	gone   time.Duration // what every place has given up: its sum stands for so much less
	least  time.Duration // no sum is smaller
	places []hotPlace
}

// hotPlace keeps a copy of the subject, in room that is used again: a subject may be a part of a job with all its payload.
type hotPlace struct {
	hash    uint64
	sum     time.Duration
	subject []byte // canonical
}

var hotSeed = maphash.MakeSeed()

func (h *hot) add(key subject.Key, took time.Duration) {
	if took <= 0 {
		return
	}
	h.all += took
	var room [256]byte
	h.put(key.AppendCanonical(room[:0]), took)
}

// put costs a look at each place; a place that is added to may leave least too small, which is mended when that matters.
func (h *hot) put(canonical []byte, took time.Duration) {
	hash := maphash.Bytes(hotSeed, canonical)
	for i := range h.places {
		if p := &h.places[i]; p.hash == hash && bytes.Equal(p.subject, canonical) {
			p.sum += took
			return
		}
	}
	if len(h.places) == lanes.MostHotSent {
		if took = h.giveUp(took); took == 0 {
			return
		}
	}
	if h.places == nil {
		h.places = make([]hotPlace, 0, lanes.MostHotSent)
	}
	h.places = h.places[:len(h.places)+1]
	p := &h.places[len(h.places)-1]
	p.hash, p.sum, p.subject = hash, h.gone+took, append(p.subject[:0], canonical...)
	if len(h.places) == 1 || p.sum < h.least {
		h.least = p.sum
	}
}

// giveUp makes room, and returns what is left then of the time of a new subject: 0 when there is no room.
func (h *hot) giveUp(took time.Duration) time.Duration {
	if h.gone+took >= h.least {
		h.least = h.places[0].sum
		for i := range h.places {
			h.least = min(h.least, h.places[i].sum)
		}
	}
	given := min(took, h.least-h.gone)
	h.gone += given
	for i := 0; h.gone == h.least && i < len(h.places); {
		if last := len(h.places) - 1; h.places[i].sum == h.gone {
			h.places[i], h.places[last] = h.places[last], h.places[i] // its room is behind the others, and used again
			h.places = h.places[:last]
		} else {
			i++
		}
	}
	return took - given
}

// merge is right as adding is: what the other one has given up stays given up.
func (h *hot) merge(o *hot) {
	h.all += o.all
	for i := range o.places {
		h.put(o.places[i].subject, o.places[i].sum-o.gone)
	}
}

// heat is what is sent of it.
func (h *hot) heat() *lanes.Heat {
	sent := &lanes.Heat{All: h.all}
	for i := range h.places {
		sent.Subjects = append(sent.Subjects, lanes.HotSubject{Subject: string(h.places[i].subject), Took: h.places[i].sum - h.gone})
	}
	return sent
}
