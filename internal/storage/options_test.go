package storage

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/option"
)

func TestURLs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]location{
		"s3://orders":                                 {bucket: "orders"},
		"s3://orders/?region=eu-central-1":            {bucket: "orders", region: "eu-central-1"},
		"s3://orders?endpoint=http://127.0.0.1:9000/": {bucket: "orders", region: "us-east-1", endpoint: "http://127.0.0.1:9000", pathStyle: true},
		"s3://orders?region=fsn1&endpoint=https://s3.example.com&path_style=false": {bucket: "orders", region: "fsn1", endpoint: "https://s3.example.com"},
	} {
		if got, err := parse(text); err != nil || got != want {
			t.Errorf("%s is %+v, %v, want %+v", text, got, err, want)
		}
	}
	const secret = "hunter2"
	for text, want := range map[string]string{
		"orders":                                       "scheme is not s3",
		"gs://orders":                                  "scheme is not s3",
		"s3://" + secret + ":x@orders":                 "user or a password",
		"s3://Or":                                      "3 to 63",
		"s3://orders/uploads":                          "has a path",
		"s3://orders#x":                                "fragment",
		"s3://orders?region=":                          "region is none",
		"s3://orders?region=a&region=b":                "region twice",
		"s3://orders?secret_key=" + secret:             "other than region",
		"s3://orders?endpoint=ftp://x":                 "endpoint is not http",
		"s3://orders?endpoint=http://x/y":              "endpoint is not http",
		"s3://orders?endpoint=http://" + secret + "@x": "endpoint is not http",
		"s3://orders?path_style=perhaps":               "neither true nor false",
		"s3://orders?%zz":                              "malformed",
		"s3://%zz" + secret:                            "no URL",
		"s3://" + strings.Repeat("x", 2048):            "more than 2048 bytes",
	} {
		err := Options{URL: text}.Validate()
		about := (*option.Error)(nil)
		if !errors.As(err, &about) || about.Field != "URL" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, want one about URL that says %q and does not show %q", text, err, want, secret)
		}
	}
	if err := (Options{CredentialsFile: "/x"}).Validate(); err == nil || !strings.Contains(err.Error(), "no storage.url") {
		t.Errorf("a credentials file without a store: %v", err)
	}
}
