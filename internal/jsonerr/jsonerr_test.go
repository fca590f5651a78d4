package jsonerr_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tidemark-dev/tidemark/internal/jsonerr"
)

type own struct{}

func (own) UnmarshalJSON(b []byte) error { return errors.New("cannot read " + string(b)) }

func TestWhyQuotesNothing(t *testing.T) {
	secret := strings.Repeat("777", 100_000)
	for _, c := range []struct{ text, want string }{
		{`{"rows":` + secret + `}`, `field "rows" is to be a int`},
		{`{"rows":"` + secret + `"}`, `field "rows" is to be a int`},
		{`{"names":{"` + secret + `":1}}`, `is to be a string`},
		{`{"at":"` + secret + `"}`, "2026-01-02T15:04:05Z"},
		{`{"own":"` + secret + `"}`, "a value does not have the form"},
		{`{"rows":` + secret, "not JSON"},
		{`{"rows":x` + secret + `}`, "not JSON: error at byte 9"},
		{`[` + secret + `]`, "is to be a struct"},
		{``, "not JSON"},
	} {
		var v struct {
			Rows  int               `json:"rows"`
			Names map[string]string `json:"names"`
			At    time.Time         `json:"at"`
			Own   own               `json:"own"`
		}
		err := json.Unmarshal([]byte(c.text), &v)
		if err == nil {
			t.Errorf("%.40s decodes", c.text)
			continue
		}
		if why := jsonerr.Why(err); !strings.Contains(why, c.want) || strings.Contains(why, "777") {
			t.Errorf("%.40s: %.200s, want %q", c.text, why, c.want)
		}
	}
}

func TestUnknownFieldIsShort(t *testing.T) {
	d := json.NewDecoder(strings.NewReader(`{"` + strings.Repeat("x", 1000) + `":1}`))
	d.DisallowUnknownFields()
	if name := jsonerr.UnknownField(d.Decode(new(struct{}))); len(name) != 64 {
		t.Errorf("%q", name)
	}
	if name := jsonerr.UnknownField(errors.New("else")); name != "" {
		t.Errorf("%q", name)
	}
}
