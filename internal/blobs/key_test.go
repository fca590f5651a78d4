package blobs_test

import (
	"strings"
	"testing"

	"github.com/tidemark-dev/tidemark/internal/blobs"
)

func TestBlobsOfOthersAreRefused(t *testing.T) {
	t.Parallel()
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
		"datasets/user:42/0701JD/data":     "",
		"datasets/user:421/0701JD/data":    "dataset of another topic",
		"datasets/user:7/0701JD/data":      "dataset of another topic",
		"datasets/user:42":                 "dataset of another topic",
		"datasets":                         "dataset of another topic",
		"DataSets/user:42/0701JD/data":     "dataset of another topic",
		"datasets/user:42/../user:7/x":     "plain segments",
		"artifacts/0701JD/profile.json":    "is an artifact",
		"ARTIFACTS/0701JD/profile.json":    "is an artifact",
		"x\x00y":                           "control characters",
		"x\xff":                            "UTF-8",
		"orders.attrs":                     ".attrs",
		strings.Repeat("x", 1025):          "at most 1024",
	} {
		err := blobs.Readable(key, "user:42")
		switch {
		case refused == "" && err == nil:
		case refused != "" && err != nil && strings.Contains(err.Error(), refused):
		default:
			t.Errorf("%q: %v, want %q", key, err, refused)
		}
	}
}

func TestKeysAndIDs(t *testing.T) {
	t.Parallel()
	const job = "0701JD8V3QZ4T9M2K6W0X5Y7B1CA"
	if got, want := blobs.Upload("user:42", job), "incoming/user:42/"+job; got != want {
		t.Errorf("the key of an upload is %q, want %q", got, want)
	}
	if got, want := blobs.Artifact(job, "profile.json"), "artifacts/"+job+"/profile.json"; got != want {
		t.Errorf("the key of an artifact is %q, want %q", got, want)
	}
	if got, want := blobs.Dataset("user:42", job, blobs.DatasetManifest), "datasets/user:42/"+job+"/manifest.json"; got != want {
		t.Errorf("the key of a dataset's manifest is %q, want %q", got, want)
	}
	if gotJob, name, ok := blobs.ParseArtifactID(blobs.ArtifactID(job, "a.b-c_D")); gotJob != job || name != "a.b-c_D" || !ok {
		t.Errorf("got %q, %q, %v", gotJob, name, ok)
	}
	for _, id := range []string{
		"", job, job + ".", job + "_x", job + "..hidden", job + ".a/b", job + "./etc", job + ".x.attrs", job + ".ä", job + "." + strings.Repeat("x", 129),
	} {
		if _, _, ok := blobs.ParseArtifactID(id); ok {
			t.Errorf("%q is taken for an artifact's ID", id)
		}
	}
}
