package main

import "strings"

// hidden stands where a password stood.
const hidden = "*****"

// secrets are texts that are replaced wherever a program, an error or a log has them.
type secrets struct {
	texts  []string // the longest first
	masker *strings.Replacer
}

func newSecrets(texts []string) secrets {
	var pairs []string
	for _, text := range texts {
		pairs = append(pairs, text, hidden)
	}
	return secrets{texts, strings.NewReplacer(pairs...)}
}

// mask returns text without secrets.
func (s *secrets) mask(text string) string {
	if len(s.texts) == 0 {
		return text
	}
	return s.masker.Replace(text)
}

// longest is how many bytes a secret may have.
func (s *secrets) longest() int {
	if len(s.texts) == 0 {
		return 0
	}
	return len(s.texts[0])
}
