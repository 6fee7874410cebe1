package move

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrDamaged is returned for what is no export, or not a whole one.
var ErrDamaged = errors.New("dispatcher: damaged export")

// mostLine is the most bytes that a line may have: a payload of 64 MiB in base64, and more.
const mostLine = 100 << 20

// lineReader reads the lines of an export one by one, and checks at the end that these were all, unchanged.
type lineReader struct {
	in     *bufio.Reader
	sum    hash.Hash
	header Header
	totals Totals // counted
	last   *Totals
}

// newReader reads the header.
func newReader(r io.Reader) (*lineReader, error) {
	l := &lineReader{in: bufio.NewReaderSize(r, 1<<16), sum: sha256.New()}
	text, err := l.next()
	if err != nil {
		return nil, err
	}
	if kind, _ := typeOf(text); kind != typeHeader {
		return nil, fmt.Errorf("%w: line 1 is no header: this is not what 'lanekeeper export' writes", ErrDamaged)
	}
	if err := l.read(text, &l.header); err != nil {
		return nil, err
	}
	if l.header.Format < 1 || l.header.Format > format {
		return nil, fmt.Errorf("%w: its format is %d, this release reads 1 to %d: a later release wrote it", ErrDamaged, l.header.Format, format)
	}
	return l, nil
}

// next returns the next line, or io.EOF when the trailer was read and agrees with the lines before it.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	for {
		some, err := l.in.ReadSlice('\n')
		line = append(line, some...)
		switch {
		case len(line) > mostLine:
			return nil, fmt.Errorf("%w: line %d has more than %d bytes", ErrDamaged, l.totals.Lines+1, mostLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && l.last != nil && len(line) == 0:
			return nil, io.EOF
		case errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%w: it ends after line %d, without its last line: it was cut off", ErrDamaged, l.totals.Lines)
		case err != nil:
			return nil, fmt.Errorf("read line %d: %w", l.totals.Lines+1, err)
		case l.last != nil:
			return nil, fmt.Errorf("%w: lines follow the last one", ErrDamaged)
		}
		break
	}
	if kind, _ := typeOf(line); kind == typeTrailer {
		return l.end(line)
	}
	l.totals.Lines++
	l.sum.Write(line)
	return line, nil
}

// end compares the last line with what was counted.
func (l *lineReader) end(line []byte) ([]byte, error) {
	last := new(Totals)
	if err := l.read(line, last); err != nil {
		return nil, err
	}
	counted := l.totals
	counted.Type, counted.Stored, counted.LeftOut, counted.SHA256 = last.Type, last.Stored, last.LeftOut, hex.EncodeToString(l.sum.Sum(nil))
	if counted != *last {
		return nil, fmt.Errorf("%w: it is changed: its last line says %+v, its lines are %+v", ErrDamaged, *last, counted)
	}
	l.last = last
	return l.next()
}

// typeOf is what a line says that it is about; ok is false of one that is no object.
func typeOf(line []byte) (kind string, ok bool) {
	var said struct{ Type string }
	err := json.Unmarshal(line, &said)
	return said.Type, err == nil
}

// read reads a line strictly: what this release does not know of would be lost.
func (l *lineReader) read(line []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: line %d: %w", ErrDamaged, l.totals.Lines, err)
	}
	return nil
}

// Check reads all of an export and returns its header and what it has. It needs no Redis. An error that wraps
// [ErrDamaged] says what is wrong, and in which line: each line is looked at as [Import] does.
func Check(r io.Reader, progress func(lines int)) (Header, Totals, error) {
	l, err := newReader(r)
	if err != nil {
		return Header{}, Totals{}, err
	}
	for {
		text, err := l.next()
		if errors.Is(err, io.EOF) {
			return l.header, *l.last, nil
		}
		if err == nil {
			_, err = l.item(text)
		}
		if err != nil {
			return l.header, l.totals, err
		}
		if progress != nil {
			progress(l.totals.Lines)
		}
	}
}
