package ground

// Parts are what package engine has built on a ground: a *runtime.Runtime and a *stream.Stream.
// This package cannot name these types.
type Parts struct{ Runtime, Stream any }

// PartsOf returns the parts of an *engine.Engine, and false for anything else. Package engine sets
// it, so that packages runtime and stream find theirs without an exported method of Engine.
var PartsOf func(engine any) (Parts, bool)
