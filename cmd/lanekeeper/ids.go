package main

import (
	"github.com/spf13/cobra"

	"github.com/lanekeeper/lanekeeper/dispatcher"
	"github.com/lanekeeper/lanekeeper/subject"
)

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

// ofSubject is the flag --subject of commands that take ids of jobs.
type ofSubject struct{ text string }

func (o *ofSubject) addTo(cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		cmd.Flags().StringVar(&o.text, "subject", "", "the job's subject: needed where jobs of several subjects have the id")
	}
}

// refs reads ids as they were typed, or copied.
func (o *ofSubject) refs(args []string) ([]dispatcher.JobRef, error) {
	var key subject.Key
	if o.text != "" {
		var err error
		if key, err = subject.Parse(o.text); err != nil {
			return nil, err
		}
	}
	refs := make([]dispatcher.JobRef, len(args))
	for i, text := range args {
		id, err := subject.ParseID(text)
		if err != nil {
			return nil, err
		}
		refs[i] = dispatcher.JobRef{ID: id, Subject: key}
	}
	return refs, nil
}
