import type { Clock, OpenSocket, Socket } from './client';
import { datasetType } from './datasets';
import { areTables, type Wanted } from './refusal';

// What the client needs of a browser.

export const clock: Clock = {
  now: () => Date.now(),
  setTimer: (run, ms) => window.setTimeout(run, ms),
  clearTimer: (timer) => window.clearTimeout(timer as number),
};

// Its handlers take whole events, of which the client reads a field or two.
export const openSocket: OpenSocket = (url, subprotocol) => new WebSocket(url, subprotocol) as unknown as Socket;

export function socketURL(): string {
  const url = new URL('/v1/ws', location.href);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  return url.href;
}

/** The topic that the gateway names for a page whose address names none. */
export function ownTopic(): string {
  return document.querySelector<HTMLMetaElement>('meta[name="tidemark-topic"]')?.content || '';
}

/** The topic that the address or, without one, the gateway names. */
export function pageTopic(): string {
  return new URLSearchParams(location.search).get('topic') || ownTopic();
}

/** Whether a text may be a topic: see "Words" in docs/protocol.md. */
export function isTopic(text: string): boolean {
  return /^[a-z][a-z0-9-]{0,31}:[A-Za-z0-9._@-]{1,128}$/.test(text);
}

interface Offer {
  readonly type: string;
  readonly extensions?: readonly string[];
}

function offers(): readonly Offer[] {
  const text = document.querySelector<HTMLMetaElement>('meta[name="tidemark-uploads"]')?.content || '[]';
  return (JSON.parse(text) ?? []) as Offer[];
}

/** Whether files become datasets here, beside what else becomes of them. */
export function makesDatasets(): boolean {
  return offers().some(({ type }) => type === datasetType);
}

/**
 * What the gateway offers for a file: datasets where they are wanted, or else by its extension, or else the
 * first; undefined where there is nothing.
 */
function offerFor(name: string, asDataset: boolean): Offer | undefined {
  const types = offers();
  const lower = name.toLowerCase();
  const wanted = asDataset ? types.find(({ type }) => type === datasetType) : undefined;
  return wanted ?? types.find((t) => t.extensions?.some((e) => lower.endsWith(e))) ?? types[0];
}

/** The job type that the gateway offers for a file. */
export function uploadType(name: string, asDataset: boolean): string | undefined {
  return offerFor(name, asDataset)?.type;
}

/** The most bytes of an upload that the gateway takes; 0 where it does not say. */
export function maxUploadBytes(): number {
  return Number(document.querySelector<HTMLMetaElement>('meta[name="tidemark-upload-bytes"]')?.content) || 0;
}

/** What a file must be to be of use there. */
export function wantedOf(name: string, asDataset: boolean): Wanted {
  return { maxBytes: maxUploadBytes(), ...areTables(offerFor(name, asDataset)?.extensions ?? []) };
}

/** The files that a picker shows first, as its `accept` has them; empty where any may be taken. */
export function accepted(): string {
  const types = offers();
  return types.every((t) => t.extensions?.length) ? types.flatMap((t) => t.extensions ?? []).join(',') : '';
}

/** Undefined where the browser forbids it, as it may for a page without storage. */
export function localStorageOrNone(): Storage | undefined {
  try {
    return window.localStorage;
  } catch {
    return undefined;
  }
}

/** Calls `woken` when the network is back or the page is looked at again. */
export function onWake(woken: () => void): void {
  window.addEventListener('online', woken);
  window.addEventListener('pageshow', woken);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') woken();
  });
}

/** Calls `leaving` when this may be the last that the page hears of. */
export function onLeave(leaving: () => void): void {
  window.addEventListener('pagehide', leaving);
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'hidden') leaving();
  });
}
