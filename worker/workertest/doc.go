// Package workertest executes handlers in tests, without Redis. A handler gets a real
// [worker.Run], whose reports go into a [Recording]: percentages, bounds, checkpoints and what
// becomes of the attempt are those of production.
//
//	rec := workertest.Run(t.Context(), t, export, order{Rows: 1000})
//	if rec.State != engine.Succeeded {
//		t.Fatalf("it ended as %s: %v", rec.State, rec.Err)
//	}
//
// Two things differ, so that recordings do not depend on time. Each change is reported at
// once, where a worker would combine those of a tick. And Run.CheckpointDue always says yes.
//
// A recording is of one attempt, or, where the handler fans out and [Outcomes] says what becomes
// of its children, of as many as it takes. To test how a handler goes on after a crash or a
// drain, execute it twice, the second time with [Resume]:
//
//	first := workertest.Run(ctx, t, export, o, workertest.Interrupt(worker.ErrDraining, atHalf))
//	second := workertest.Run(ctx, t, export, o, workertest.Resume(first))
package workertest
