package wire

// A JobAnswer answers a request about one job.
type JobAnswer struct {
	Topic Topic `json:"topic"`
	Job   View  `json:"job"`
	// Queues has the queue in which the job waits. It is left out where none is known.
	Queues []Queue `json:"queues,omitempty"`
}

// An EnqueueAnswer answers a request that creates a job, or finds the one that its key has created.
type EnqueueAnswer struct {
	Enqueued
	// Unreplicated says that the job is created and that ErrUnreplicated came with it.
	Unreplicated bool `json:"unreplicated,omitempty"`
}

// A JobsAnswer answers a request for a list of jobs.
type JobsAnswer struct {
	Topic Topic `json:"topic"`
	JobsPage
	// Queues are those in which jobs of the page wait. They are left out where none is known.
	Queues []Queue `json:"queues,omitempty"`
}

// A SnapshotAnswer answers a request for a part of a snapshot.
type SnapshotAnswer struct {
	Topic Topic `json:"topic"`
	// Cursor is set in the last part only: a reader follows from it.
	Cursor Cursor `json:"cursor,omitempty"`
	// More is set in the last part only: the After of the live jobs that were left out.
	More string `json:"more,omitempty"`
	Jobs []View `json:"jobs"`
	// Next asks for the part that follows; "" when this is the last.
	Next string `json:"next,omitempty"`
}

// A ScheduleAnswer answers a request that puts a schedule.
type ScheduleAnswer struct {
	Topic    Topic     `json:"topic"`
	Schedule Scheduled `json:"schedule"`
}

// A SchedulesAnswer answers a request for the schedules of a topic.
type SchedulesAnswer struct {
	Topic     Topic       `json:"topic"`
	Schedules []Scheduled `json:"schedules"`
}

// A DownloadAnswer answers a request that begins a watched download.
type DownloadAnswer struct {
	Download
	// URL is where the download's bytes are, on the gateway that answers.
	URL string `json:"url"`
}

// A DownloadsAnswer answers a request for a user's downloads.
type DownloadsAnswer struct {
	Downloads []Download `json:"downloads"`
}

// A Problem is an error answer, in the form of RFC 9457. Code is what programs branch on; Type
// is the same as a relative reference.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}
