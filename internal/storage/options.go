package storage

import (
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark-dev/tidemark/internal/option"
)

// URLForm is what [Options].URL looks like.
const URLForm = "s3://bucket?region=REGION, for a store other than AWS with &endpoint=https://host[:port]; credentials are no part of it"

// Options say which store to use.
type Options struct {
	// URL is an S3 bucket's: s3://bucket?region=…, with endpoint=https://host[:port] for a store
	// other than AWS, and path_style=false for one that has its buckets in host names. "": a
	// folder in the data folder.
	URL string
	// CredentialsFile is the path of a file in the form of AWS's shared credentials file, whose
	// profile "default" is used. It is read again every 5 minutes. "": credentials are AWS's as
	// usual: its environment variables, its shared files, or the machine's role.
	CredentialsFile string
}

// Validate checks o. Its error joins an *option.Error for each field that is wrong, and quotes
// nothing of a URL, which may hold a secret by mistake.
func (o Options) Validate() error {
	if o.URL == "" {
		if o.CredentialsFile != "" {
			return option.Invalid("CredentialsFile", o.CredentialsFile, "there is no storage.url to use it for; set that, or drop this")
		}
		return nil
	}
	_, err := parse(o.URL)
	return err
}

// A location is what a URL says.
type location struct {
	bucket, region string
	endpoint       string // "": AWS
	pathStyle      bool
}

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	regionName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// maxURLBytes bounds a URL.
const maxURLBytes = 2048

func parse(text string) (location, error) {
	bad := func(reason string) (location, error) {
		return location{}, option.Invalid("URL", nil, "%s; want %s", reason, URLForm)
	}
	if len(text) > maxURLBytes {
		return bad("it has more than " + strconv.Itoa(maxURLBytes) + " bytes")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil: // whose text quotes it
		return bad("it is no URL")
	case u.Scheme != "s3":
		return bad("its scheme is not s3")
	case u.User != nil:
		return bad("it has a user or a password")
	case !bucketName.MatchString(u.Host):
		return bad("its bucket is not 3 to 63 of a-z, 0-9, dots and hyphens")
	case u.Path != "" && u.Path != "/":
		return bad("it has a path; a bucket is used as a whole")
	case u.Fragment != "":
		return bad("it has a fragment")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("its query is malformed")
	}
	for name, values := range query {
		switch {
		case !slices.Contains([]string{"region", "endpoint", "path_style"}, name):
			return bad("it has a parameter other than region, endpoint and path_style")
		case len(values) > 1:
			return bad("it has " + name + " twice")
		}
	}
	l := location{bucket: u.Host, region: query.Get("region"), endpoint: strings.TrimSuffix(query.Get("endpoint"), "/")}
	if query.Has("region") && !regionName.MatchString(l.region) {
		return bad("its region is none, such as eu-central-1")
	}
	if query.Has("endpoint") {
		if !plainEndpoint(l.endpoint) {
			return bad("its endpoint is not http or https with a host alone")
		}
		l.pathStyle = true
		if l.region == "" {
			l.region = "us-east-1" // which stores that have no regions take
		}
	}
	if query.Has("path_style") {
		if l.pathStyle, err = strconv.ParseBool(query.Get("path_style")); err != nil {
			return bad("its path_style is neither true nor false")
		}
	}
	return l, nil
}

// plainEndpoint reports whether text is http or https, a host, and nothing else.
func plainEndpoint(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		u.Path == "" && u.RawQuery == "" && u.Fragment == "" && !u.ForceQuery
}
