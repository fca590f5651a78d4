package engine

// PinsKey names the key that holds the jobs whose payloads name an upload.
func (e *Engine) PinsKey(topic Topic, upload JobID) string { return e.keys.pins(topic, upload) }

// JobKey names the key that holds a job.
func (e *Engine) JobKey(id JobID) string { return e.keys.job(id) }
