package main

import "github.com/lanekeeper/lanekeeper/subject"

// idText is the text form of an id; a place in a lane that is no job's has none.
func idText(id string) string {
	if id == "" {
		return ""
	}
	return subject.IDText(id)
}

// idWord is the same as a word of a shell.
func idWord(id string) string {
	if id == "" {
		return ""
	}
	return subject.IDWord(id)
}

// idsOf reads ids as they were typed, or copied.
func idsOf(args []string) ([]string, error) {
	ids := make([]string, len(args))
	for i, text := range args {
		var err error
		if ids[i], err = subject.ParseID(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
