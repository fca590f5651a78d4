import { Problem, request } from './api';

/** The type of the jobs that make datasets of files. */
export const datasetType = 'upload';

/** A dataset as lists have it. */
export interface DatasetBrief {
  readonly id: string;
  /** The file's own; absent where nobody has told it. */
  readonly name?: string;
  /** Bytes of the file as it was uploaded. */
  readonly size: number;
  readonly media_type: string;
  readonly format: string;
  readonly rows: number;
  /** Rows of the file that are none of the dataset. */
  readonly rejected: number;
  readonly created_at: string;
}

export interface DatasetColumn {
  readonly name: string;
  /** text, integer, float, decimal, boolean, date, timestamp or json. */
  readonly kind: string;
  readonly nullable?: boolean;
}

export interface Dataset extends DatasetBrief {
  readonly topic: string;
  readonly packing?: string;
  readonly unpacked_size: number;
  /** How many sheets a workbook shows, of which the dataset is the first. */
  readonly sheets?: number;
  readonly dialect: { readonly encoding: string; readonly delimiter?: string; readonly header?: boolean; readonly skipped?: number };
  readonly columns: readonly DatasetColumn[];
  /** The first of the rejected rows. */
  readonly rejections?: readonly { readonly line: number; readonly reason: string }[];
  /** The first rows, cells clipped; null where there is no value. */
  readonly preview: readonly (readonly (string | null)[])[] | null;
}

export interface DatasetPage {
  readonly datasets: readonly DatasetBrief[];
  /** Where the next page begins; absent at the end. */
  readonly next?: string;
}

/** A page of a topic's datasets, at most `limit`, up to 100. */
export async function fetchDatasets(topic: string, limit: number, after = ''): Promise<DatasetPage> {
  const query = new URLSearchParams({ topic, limit: String(limit), ...(after && { after }) });
  return JSON.parse(await request('GET', `/v1/datasets?${query}`)) as DatasetPage;
}

export async function fetchDataset(topic: string, id: string): Promise<Dataset> {
  return JSON.parse(await request('GET', datasetPath(topic, id))) as Dataset;
}

/** Whether the topic has a dataset. */
export async function hasDataset(topic: string, id: string): Promise<boolean> {
  try {
    await fetchDataset(topic, id);
    return true;
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return false;
    throw error;
  }
}

/** Deletes a dataset. That it is gone already is no error. */
export async function deleteDataset(topic: string, id: string): Promise<void> {
  try {
    await request('DELETE', datasetPath(topic, id));
  } catch (error) {
    if (!(error instanceof Problem && error.status === 404)) throw error;
  }
}

function datasetPath(topic: string, id: string): string {
  return `/v1/datasets/${encodeURIComponent(id)}?${new URLSearchParams({ topic })}`;
}

/** What a dataset is called. */
export function nameOf({ id, name }: { readonly id: string; readonly name?: string | undefined }): string {
  return name || `Dataset ${id.slice(-6)}`;
}

/** A job that is to be made. */
export interface Spec {
  readonly type: string;
  readonly title: string;
  readonly payload: unknown;
  /** Makes requests that are sent twice the same job. */
  readonly key?: string;
  /** The end of the job that frees the key. */
  readonly key_life?: 'until_failed';
}

/** Makes a job, and gives its ID. */
export async function enqueue(topic: string, spec: Spec): Promise<string> {
  const body = JSON.stringify({ topic, ...spec, title: [...spec.title].slice(0, 200).join('') });
  return (JSON.parse(await request('POST', '/v1/jobs', body)) as { readonly id: string }).id;
}

/** The job that makes a dataset of the file that was uploaded for a job; of one file there is one at a time. */
export function datasetOf(topic: string, job: string, title: string): Spec {
  return { type: datasetType, title, payload: { blob: `incoming/${topic}/${job}`, name: title }, key: `dataset-of-${job}`, key_life: 'until_failed' };
}

/** The job that analyzes a dataset. */
export function analysisOf({ id, name }: Pick<Dataset, 'id' | 'name'>): Spec {
  return { type: 'analysis', title: nameOf({ id, name }), payload: { dataset: id } };
}
