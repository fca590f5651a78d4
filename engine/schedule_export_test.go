package engine

// TicksKey is the hash in which the engine notes how far ticks were seen to.
func (e *Engine) TicksKey() string { return e.keys.ticks() }

// SchedulesKey is the hash of the schedules.
func (e *Engine) SchedulesKey() string { return e.keys.schedules() }

// TimesKey is the hash of when they tick.
func (e *Engine) TimesKey() string { return e.keys.times() }
