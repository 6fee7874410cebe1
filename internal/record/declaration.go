package record

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseDeclaration reads what is declared of a kind: "<version> <owner> <JSON>". Errors wrap [ErrCorrupt].
func ParseDeclaration(record string) (version int, json string, err error) {
	parts := strings.SplitN(record, " ", 3)
	if len(parts) == 3 {
		version, err = strconv.Atoi(parts[0])
	}
	if len(parts) != 3 || err != nil {
		return 0, "", fmt.Errorf("%w: %.100q is no declaration", ErrCorrupt, record)
	}
	return version, parts[2], nil
}

// Declaration is what is declared of a kind, and Declared its inverse.
func Declaration(version int, owner, json string) string {
	return strconv.Itoa(version) + " " + owner + " " + json
}

// Declared: see Declaration. Errors wrap [ErrCorrupt].
func Declared(record string) (version int, owner, json string, err error) {
	if version, json, err = ParseDeclaration(record); err == nil {
		owner = strings.SplitN(record, " ", 3)[1]
	}
	return version, owner, json, err
}
