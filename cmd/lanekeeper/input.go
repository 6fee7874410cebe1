package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// input is a file or a pipe whose reads end when a context does. A read that hangs is left to
// itself: nothing ends one on a terminal, or on a pipe that nobody writes to.
type input struct {
	ctx    context.Context
	chunks chan chunk
	rest   []byte
	err    error
}

type chunk struct {
	bytes []byte
	err   error
}

// newInput returns the input that open opens, which may hang too.
func newInput(ctx context.Context, open func() (io.ReadCloser, error)) *input {
	in := &input{ctx: ctx, chunks: make(chan chunk)}
	go in.feed(open)
	return in
}

// inputOf returns the input of what is open already. It is not closed.
func inputOf(ctx context.Context, from io.Reader) *input {
	return newInput(ctx, func() (io.ReadCloser, error) { return io.NopCloser(from), nil })
}

// inputFrom returns the input of a file. A directory is none.
func inputFrom(ctx context.Context, path string) *input {
	return newInput(ctx, func() (io.ReadCloser, error) { return os.Open(path) })
}

func (in *input) feed(open func() (io.ReadCloser, error)) {
	hand := func(c chunk) bool {
		select {
		case in.chunks <- c:
			return true
		case <-in.ctx.Done():
			return false
		}
	}
	from, err := open()
	if err != nil {
		hand(chunk{err: err})
		return
	}
	defer from.Close()
	// One block is read into while the other is used up, which it is when the next is asked for.
	var blocks [2][1 << 16]byte
	for i := 0; ; i = 1 - i {
		block := blocks[i][:]
		n, err := from.Read(block)
		if !hand(chunk{block[:n], err}) || err != nil {
			return
		}
	}
}

func (in *input) Read(p []byte) (int, error) {
	for len(in.rest) == 0 && in.err == nil {
		select {
		case c := <-in.chunks:
			in.rest, in.err = c.bytes, c.err
		case <-in.ctx.Done():
			in.err = context.Cause(in.ctx)
		}
	}
	n := copy(p, in.rest)
	in.rest = in.rest[n:]
	if n == 0 {
		return 0, in.err
	}
	return n, nil
}

// errTooLong is returned for what has more bytes than may be kept of it.
var errTooLong = errors.New("too long")

// readAll reads all of in, which may have so many bytes.
func readAll(in io.Reader, most int) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	if err == nil && len(text) > most {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLong, most)
	}
	return text, err
}

// lines cuts input into lines.
type lines struct {
	in   *input
	most int // bytes of a line; the rest of a longer one is read and dropped

	held  []byte // of input, not cut yet
	part  []byte // of a line, as far as it was read; its room is used for every line
	long  bool   // that line is too long
	begun bool
	err   error
}

// errPause is returned when the pause is over before the next line is there.
var errPause = errors.New("pause")

// next returns the next line without its end, until it is called again: errTooLong for one that is too long, errPause when
// the pause ends first, and io.EOF behind the last.
func (l *lines) next(pause <-chan time.Time) ([]byte, error) {
	for {
		at := bytes.IndexByte(l.held, '\n')
		switch {
		case at >= 0:
			l.take(at)
			l.held = l.held[1:]
			return l.cut()
		case errors.Is(l.err, io.EOF) && (l.long || len(l.part)+len(l.held) > 0):
			l.take(len(l.held)) // the last line may have no end
			return l.cut()
		case l.err != nil:
			return nil, l.err
		}
		l.take(len(l.held))
		select {
		case c := <-l.in.chunks:
			l.held, l.err = c.bytes, c.err
		case <-pause:
			return nil, errPause
		case <-l.in.ctx.Done():
			l.err = context.Cause(l.in.ctx)
		}
	}
}

// take moves n bytes to the line that is being read.
func (l *lines) take(n int) {
	l.long = l.long || len(l.part)+n > l.most
	if !l.long {
		if need := len(l.part) + n; need > cap(l.part) && need > 1<<16 {
			l.part = append(make([]byte, 0, l.most), l.part...) // once, and not by and by: half of that would be waste
		}
		l.part = append(l.part, l.held[:n]...)
	}
	l.held = l.held[n:]
}

func (l *lines) cut() (line []byte, err error) {
	line, l.part = l.part, l.part[:0]
	if l.long {
		line, err = nil, fmt.Errorf("%w: more than %d bytes", errTooLong, l.most)
	}
	l.long = false
	if !l.begun { // some editors put the mark of UTF-8 before the first line
		l.begun, line = true, bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	return line, err
}
