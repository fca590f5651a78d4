// The types of tus-js-client name Node's Buffer, which a browser does not have.
type Buffer = never;
