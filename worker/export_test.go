package worker

// OwnGate gives w a gate of its own, as if it had a process of its own.
func OwnGate(w *Worker) { w.gate = newGate() }
