package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// file is one of an archive: where it stands there, and where its content is here.
type file struct {
	name, from string
	mode       int64
}

// pack writes files into a tar.gz, in one folder. The same contents make the same bytes, whoever packs them and whenever: all
// files are root's and have one time, and they stand in the order of their names.
func pack(path, folder string, files []file, at time.Time) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if closed := out.Close(); err == nil {
			err = closed
		}
	}()
	zipped, _ := gzip.NewWriterLevel(out, gzip.BestCompression) // its header has no time and no name
	archive := tar.NewWriter(zipped)
	files = slices.SortedFunc(slices.Values(files), func(a, b file) int { return strings.Compare(a.name, b.name) })
	for _, f := range files {
		if err := add(archive, folder, f, at); err != nil {
			return fmt.Errorf("pack %s: %w", f.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

func add(archive *tar.Writer, folder string, f file, at time.Time) error {
	content, err := os.ReadFile(f.from)
	if err != nil {
		return err
	}
	header := &tar.Header{
		Name: folder + "/" + f.name, Mode: f.mode, Size: int64(len(content)), ModTime: at, Format: tar.FormatPAX,
		Uname: "root", Gname: "root",
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}

// sums writes SHA256SUMS of the archives of a folder, in the form that 'sha256sum -c' reads.
func sums(dir string, names []string) error {
	var text strings.Builder
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		_ = f.Close()
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%x  %s\n", sum.Sum(nil), name)
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(text.String()), 0o644)
}
