package engine

import "time"

// SubmitMake is the first half of Enqueue, with an ID of the caller's, without waiting.
func (e *Engine) SubmitMake(s Spec, id JobID, done chan<- Enqueued) error {
	o, _, err := making(s, id, time.Now(), origin{})
	if err != nil {
		return err
	}
	o.key = "enqueue:" + string(s.Topic) + ":" + s.Key
	return e.submit(o, func(r result) { done <- Enqueued{ID: r.job, Topic: s.Topic, Existing: r.job != id} })
}

// SubmitCancel is Cancel without waiting.
func (e *Engine) SubmitCancel(topic Topic, id JobID) error {
	return e.submit(operation{kind: JobCanceling, topic: topic, job: id, key: newKey(), attempt: -1}, func(result) {})
}

func (e *Engine) submit(o operation, done func(result)) error {
	return e.commits.add(&submission{
		shard: shardOf(o.topic, e.opts.Shards), reports: 1, milestone: true, args: o.encode(nil),
		done: func(answers []any, err error) {
			if err != nil {
				panic(err)
			}
			r, err := readResult(text(answers[0]))
			if err != nil {
				panic(err)
			}
			done(r)
		},
	})
}
