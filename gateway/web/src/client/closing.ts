// What a close code asks of a client: the table of docs/protocol.md, "Closing".

export interface Closing {
  readonly comeBack: 'by backoff' | 'when told' | 'with new credentials' | 'never';
  readonly text: string;
}

const known: Readonly<Record<number, Closing>> = {
  1001: { comeBack: 'by backoff', text: 'the server went away' },
  1006: { comeBack: 'by backoff', text: 'the connection was lost' },
  1011: { comeBack: 'by backoff', text: 'the server had an internal error' },
  1012: { comeBack: 'by backoff', text: 'the server restarts' },
  1003: { comeBack: 'never', text: 'the server could not read a message of this page' },
  1007: { comeBack: 'never', text: 'the server could not read a message of this page' },
  1009: { comeBack: 'never', text: 'a message of this page was too long' },
  4400: { comeBack: 'never', text: 'the server does not speak this page’s protocol; reload it' },
  4401: { comeBack: 'with new credentials', text: 'you are not signed in, or no longer' },
  4403: { comeBack: 'never', text: 'you may not connect' },
  4409: { comeBack: 'when told', text: 'you have too many connections open' },
  4429: { comeBack: 'when told', text: 'this page asked for too much at once' },
};

/** A code that is not in the table is taken for a loss of the network. */
export function closing(code: number): Closing {
  return known[code] ?? { comeBack: 'by backoff', text: `the connection was closed (${code})` };
}
