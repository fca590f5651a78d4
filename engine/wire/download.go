package wire

import "time"

// A Download is a watched download of an artifact. Of two views of one download the one with the higher
// Rev is the newer.
type Download struct {
	// ID has 26 characters that nobody can guess. Only the user who began the download may use it.
	ID       string `json:"id"`
	Rev      int64  `json:"rev"`
	Topic    Topic  `json:"topic"` // of the artifact's job
	Artifact string `json:"artifact"`
	Size     int64  `json:"size"` // in bytes
	// Done is how many different bytes of the artifact gateways have written to sockets. It never falls.
	Done  int64         `json:"done"`
	State DownloadState `json:"state"`
	// Reason says why the download was aborted: one of the Reason… constants.
	Reason    string    `json:"reason,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	// ExpiresAt is when the download is aborted if it is still running: with its artifact, or 23 hours
	// after its beginning.
	ExpiresAt time.Time `json:"expires_at"`
}

// A DownloadState is how far a download is.
type DownloadState string

// The states of downloads. The last two are ends.
const (
	DownloadStateRunning   DownloadState = "running"
	DownloadStateCompleted DownloadState = "completed"
	DownloadStateAborted   DownloadState = "aborted"
)

// Why a download was aborted, beside ReasonExpired.
const (
	ReasonCanceled = "canceled" // its user has canceled it
	ReasonLapsed   = "lapsed"   // no gateway has written for a lease
)

// MaxDownloads is how many watched downloads of one user may run at a time. Redis keeps as many that
// have ended, the newest, for a day at most.
const MaxDownloads = 100
