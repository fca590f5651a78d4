package analysis

import (
	"errors"
	"strings"
	"testing"
)

func TestBlobsOfOthersAreRefused(t *testing.T) {
	for key, refused := range map[string]string{
		"":                                 "",
		"uploads/0123abcd":                 "",
		"orders.csv":                       "",
		"incoming/user:42/0701JD":          "",
		"incomings/x":                      "",
		"incoming/user:421/0701JD":         "uploaded for another topic",
		"incoming/user:7/0701JD":           "uploaded for another topic",
		"incoming/.uploads/open/0701.json": "uploaded for another topic",
		"incoming/user:42":                 "uploaded for another topic",
		"incoming":                         "uploaded for another topic",
		"Incoming/user:42/0701JD":          "uploaded for another topic",
		"./incoming/user:7/0701JD":         "plain segments",
		"/incoming/user:7/0701JD":          "plain segments",
		"incoming//user:7/0701JD":          "plain segments",
		"x/../incoming/user:7/0701JD":      "plain segments",
		"incoming/user:42/../user:7/07":    "plain segments",
		"../incoming/user:7/0701JD":        "plain segments",
		`incoming\user:7\0701JD`:           "plain segments",
		"incoming/user:42/":                "plain segments",
		"artifacts/0701JD/profile.json":    "is an artifact",
		"ARTIFACTS/0701JD/profile.json":    "is an artifact",
	} {
		err := readable(key, "user:42")
		switch {
		case refused == "" && err == nil:
		case refused != "" && errors.Is(err, ErrInput) && strings.Contains(err.Error(), refused):
		default:
			t.Errorf("%q: %v, want %q", key, err, refused)
		}
	}
}
