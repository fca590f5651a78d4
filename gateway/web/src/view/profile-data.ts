// The JSON of a profile, schema 1, as the analysis of a file writes it.

export interface Profile {
  readonly schema: number;
  readonly format: string;
  readonly delimiter?: string;
  readonly header?: boolean;
  readonly bytes: number;
  readonly rows: number;
  readonly ragged: number;
  readonly malformed: number;
  readonly encoding?: string;
  readonly warnings?: readonly Warning[];
  readonly columns: readonly Column[];
}

/** What about the file may not be as it was meant. */
export interface Warning {
  readonly code: string;
  readonly column?: string;
  readonly count?: number;
  readonly message: string;
}

export interface Column {
  readonly name: string;
  readonly type: string;
  readonly nulls: number;
  readonly types?: Readonly<Record<string, number>>;
  readonly distinct: number;
  readonly distinct_exact: boolean;
  readonly number?: NumberStats;
  readonly time?: { readonly min: string; readonly max: string };
  readonly text?: { readonly min: string; readonly max: string; readonly min_length: number; readonly max_length: number };
  readonly top?: readonly TopValue[];
  readonly top_error: number;
}

export interface NumberStats {
  /** A string where a number could not hold all digits. */
  readonly min: number | string;
  readonly max: number | string;
  readonly mean: number;
  readonly stddev: number;
  readonly quantiles?: Quantiles;
}

export interface Quantiles {
  readonly exact: boolean;
  readonly p1: number;
  readonly p5: number;
  readonly p25: number;
  readonly p50: number;
  readonly p75: number;
  readonly p95: number;
  readonly p99: number;
}

export interface TopValue {
  readonly value: string;
  readonly count: number;
}

/** The part of an analysis' result that names its profile. */
export function profileArtifact(result: unknown): string | undefined {
  const id = (result as { profile?: { id?: unknown } } | null | undefined)?.profile?.id;
  return typeof id === 'string' ? id : undefined;
}
