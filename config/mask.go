package config

import (
	"slices"
	"strings"
)

const masked = "xxxxx"

// shownParameters are those that hold no secret.
var shownParameters = []string{"db", "protocol", "pool_size", "region", "endpoint", "path_style"}

// Mask hides the password of a Redis URL, in any of the forms that engine.ParseURL
// takes, several hosts included, and what is secret in another address. Of an address that it does not understand it shows
// nothing.
func Mask(address string) string {
	if address == "" {
		return ""
	}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return masked
	}
	// A password that is not percent-encoded may hold any character, so it ends at
	// the last @ of all.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, _, secret := strings.Cut(rest[:at], ":")
		if secret {
			user += ":" + masked
		}
		rest = user + rest[at:]
	}
	if path, query, ok := strings.Cut(rest, "?"); ok {
		fields := strings.Split(query, "&")
		for i, f := range fields {
			if name, _, _ := strings.Cut(f, "="); !slices.Contains(shownParameters, name) {
				fields[i] = name + "=" + masked
			}
		}
		rest = path + "?" + strings.Join(fields, "&")
	}
	return scheme + "://" + rest
}
