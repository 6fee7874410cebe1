package main

import (
	"errors"
	"strings"
)

// errWords is the rule that a PROGRAM must keep to.
var errWords = errors.New("must be a command with its arguments; " +
	"no shell is started, so no ; | & < > ( ) outside of quotes, and each quote ends")

// splitWords splits a line into words as a shell does. Nothing is expanded: stays is the first word in which a
// shell would have put something else in place of a part, which is there as it stands.
func splitWords(line string) (words []string, stays string, err error) {
	var word strings.Builder
	var quote byte
	begun, expands := false, false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		if expands && stays == "" {
			stays = word.String()
		}
		word.Reset()
		begun, expands = false, false
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == '\'' && c != quote:
			word.WriteByte(c)
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\':
			if i++; i == len(line) {
				return nil, "", errWords
			}
			if quote == '"' && !strings.ContainsRune("$`\"\\\n", rune(line[i])) {
				word.WriteByte('\\') // it means nothing before other bytes
			}
			if line[i] != '\n' { // else the line goes on
				word.WriteByte(line[i])
				begun = true
			}
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && strings.IndexByte(" \t\r\n", c) >= 0:
			end()
		case quote == 0 && strings.IndexByte(";|&<>()", c) >= 0:
			return nil, "", errWords
		default:
			expands = expands || c == '$' || c == '`' ||
				quote == 0 && (strings.IndexByte("*?[", c) >= 0 || !begun && (c == '~' || c == '#'))
			word.WriteByte(c)
			begun = true
		}
	}
	end()
	if quote != 0 || len(words) == 0 {
		return nil, "", errWords
	}
	return words, stays, nil
}
