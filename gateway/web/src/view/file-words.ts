import { moment, type Artifact } from '../client';
import { bytes, when } from './format';

/** Media types by the names that people know. */
const kinds: Readonly<Record<string, string>> = {
  'text/csv': 'CSV', 'application/x-ndjson': 'NDJSON', 'application/json': 'JSON', 'text/html': 'HTML', 'text/plain': 'text',
  'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'Excel workbook', 'application/vnd.apache.parquet': 'Parquet',
  'application/gzip': 'gzip', 'application/zstd': 'Zstandard', 'application/octet-stream': '',
};

/** A media type in a word, without its parameters. */
export function kindOf(mediaType: string): string {
  const type = mediaType.split(';')[0]!.trim().toLowerCase();
  return kinds[type] ?? type;
}

/** Whether the time until which a file is kept has passed. */
export function hasExpired({ expires_at }: Artifact, now: number): boolean {
  const end = moment(expires_at);
  return end > 0 && end <= now;
}

/** What is known of a file beside its name: "1.2 MiB · CSV · kept until 7 Dec, 14:00". */
export function aboutFile(file: Artifact, now: number): string {
  const end = moment(file.expires_at);
  const kept = !end ? '' : hasExpired(file, now) ? `kept until ${when(end, now)}, and gone since` : `kept until ${when(end, now)}`;
  return [bytes(file.size), kindOf(file.type), kept].filter(Boolean).join(' · ');
}
