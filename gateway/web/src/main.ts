import { controlJob, fetchJob, fetchQueues, Problem, removeJob, retryJob } from './api';
import {
  accepted, clock, isTopic, localStorageOrNone, makesDatasets, maxUploadBytes, onLeave, onWake, openSocket, ownTopic, pageTopic, socketURL, uploadType, wantedOf,
} from './browser';
import { Connection, hasEnded, LocalStore, TopicFollower } from './client';
import { datasetOf, datasetType, deleteDataset, enqueue, fetchDatasets, hasDataset, type Spec } from './datasets';
import { randomKey } from './key';
import { Queues } from './queues';
import { refusalOf } from './refusal';
import { Uploads } from './uploads';
import { Badge } from './view/badge';
import { DatasetList } from './view/dataset-list';
import { takeFiles } from './view/drop';
import { byID, setAttribute, setHidden, setText } from './view/element';
import { bytes } from './view/format';
import { JobList } from './view/list';
import { tabTitle } from './view/tab';
import { TransferList } from './view/transfers';
import { Unfolded } from './view/unfolded';

const topic = pageTopic();
const connection = new Connection({ url: socketURL(), open: openSocket, clock, random: Math.random });
const storage = localStorageOrNone();
const follower = new TopicFollower({
  connection, topic, clock, random: Math.random, fetchJob,
  store: storage && new LocalStore(storage, `tidemark:${topic}`),
});

/** The jobs whose files came from this page, and those that it has made. */
const sent = new Set<string>();
/** Those of them whose files were uploaded. */
const uploaded = new Set<string>();
/** One result opens by itself: that of the first to end of the files that were chosen last. */
let mayOpen = false;
const uploads = new Uploads({
  topic,
  typeOf: (name) => uploadType(name, isExporting()),
  refusalOf: (file) => refusalOf(file, wantedOf(file.name, isExporting())),
  changed: () => {
    for (const { job } of uploads.transfers) {
      if (!job) continue;
      sent.add(job);
      uploaded.add(job);
    }
    transfers.paint(uploads.transfers);
    list.markLive();
  },
});

/** Whether files that are dropped are to be exported, and not analyzed. */
function isExporting(): boolean {
  return document.querySelector<HTMLInputElement>('#then input:checked')?.value === 'export';
}

/** Makes a job, leads to its row and gives its ID. Its result opens by itself, but for an export's: that is a file, which the row has. */
async function make(spec: Spec): Promise<string> {
  const id = await enqueue(topic, spec);
  if (spec.type !== 'export') {
    sent.add(id);
    mayOpen = true;
  }
  const view = await fetchJob(id).catch(() => undefined); // its record will come
  if (view) follower.offer(view);
  showView('jobs');
  list.lead(id, spec.type !== 'export');
  return id;
}

/** Makes a dataset of the file that was uploaded for a job, anew where there was one that has been deleted. */
async function exportFile(id: string): Promise<void> {
  const spec = datasetOf(topic, await uploadOf(id), follower.jobs.get(id)?.view.title ?? '');
  const made = await make(spec);
  if (follower.jobs.get(made)?.view.state === 'succeeded' && !await hasDataset(topic, made)) await make({ ...spec, key: randomKey() });
}

async function remove(id: string): Promise<void> {
  await deleteDataset(topic, id);
  if (!byID('datasets-view').hidden) void datasets.load();
}

/** The job for which a job's file was uploaded: a retry reads the file of the job that it tries again. */
async function uploadOf(id: string): Promise<string> {
  const view = follower.jobs.get(id)?.view ?? await fetchJob(id);
  if (!view) throw new Problem(404, 'not_found', 'the job for which the file was uploaded has been removed; drop the file again');
  return view.retry_of === undefined ? id : uploadOf(view.retry_of);
}

const transfers = new TransferList(byID('transfers'), {
  hasRow: (job) => follower.jobs.get(job) !== undefined,
  dismiss: (transfer) => uploads.dismiss(transfer),
  retry: (transfer) => void uploads.add(transfer.file),
});

const queues = new Queues({ live: () => follower.jobs.live(), fetch: fetchQueues, changed: () => list.markLive() });
const list = new JobList(follower.jobs, {
  live: byID('live'), liveCount: byID('live-count'), liveSection: byID('live-section'), liveClose: byID('live-close'),
  ended: byID('ended'), endedCount: byID('ended-count'), endedSection: byID('ended-section'), endedClose: byID('ended-close'),
  empty: byID('empty'),
}, new Unfolded(`tidemark:unfolded:${topic}`, storage), {
  pause: async (id) => follower.offer(await controlJob(id, 'pause')),
  resume: async (id) => follower.offer(await controlJob(id, 'resume')),
  cancel: async (id) => {
    follower.offer(await controlJob(id, 'cancel'));
    uploads.stop(id);
  },
  retry: async (id) => {
    const again = await retryJob(id);
    if (sent.has(id)) {
      sent.add(again);
      mayOpen = true;
    }
    const view = await fetchJob(again);
    if (view) follower.offer(view);
  },
  export: exportFile,
  remove: async (id) => {
    await removeJob(id);
    follower.drop(id);
  },
  isSought: (id) => follower.isSought(id),
  feeding: (id) => uploads.feeds(id),
  opens: (id) => {
    if (!mayOpen || !sent.has(id)) return false;
    mayOpen = false;
    return true;
  },
  isLive: () => follower.state.name === 'live',
  queueOf: (view) => queues.of(view),
  hasFile: ({ id, result }) => makesDatasets() && ((result as { readonly uploaded?: unknown } | undefined)?.uploaded === true || uploaded.has(id)),
  datasets: { topic, make, remove },
});

const datasets = new DatasetList({
  list: byID('datasets'), count: byID('datasets-count'), note: byID('datasets-note'), empty: byID('datasets-empty'), more: byID('datasets-more'),
}, { topic, make, remove, fetch: (after) => fetchDatasets(topic, 100, after) });

/** Shows the jobs or the datasets, as the address says. */
function paintView(): void {
  const isDatasets = location.hash === '#datasets' && makesDatasets() && isTopic(topic);
  setHidden(byID('jobs-view'), isDatasets);
  setHidden(byID('datasets-view'), !isDatasets);
  for (const link of byID('views').querySelectorAll('a')) setAttribute(link, 'aria-current', (link.hash === '#datasets') === isDatasets ? 'page' : undefined);
  if (isDatasets) void datasets.load();
}

function showView(view: 'jobs' | 'datasets'): void {
  if (location.hash === `#${view}` || (view === 'jobs' && location.hash === '')) return;
  location.hash = view;
  paintView(); // at once: the event comes later
}

follower.listen({
  jobsChanged: (ids) => {
    for (const id of ids) {
      const job = follower.jobs.get(id);
      if (job && hasEnded(job.view.state)) uploads.stop(id);
      if (job?.view.type === datasetType && job.view.state === 'succeeded' && !byID('datasets-view').hidden) void datasets.load();
    }
    transfers.paint(uploads.transfers);
    list.mark(ids);
    paintTab();
  },
  record: ({ type, artifact }) => {
    if (type === 'artifact.expired' && artifact) list.fileGone(artifact.id.slice(0, artifact.id.indexOf('.')), artifact.id);
  },
  stateChanged: (state) => {
    if (state.name === 'live') uploads.wake();
    list.mark([]);
  },
});

const badge = new Badge(byID('badge'), connection, follower);
const notice = byID('notice');
const say = (text: string): void => setText(notice, text);

// A tab out of sight paints no frame, and its title is what is left of it.
let tabPaintedAt = 0;
function paintTab(): void {
  const now = Date.now();
  if (now - tabPaintedAt < 1_000) return;
  tabPaintedAt = now;
  const title = tabTitle(follower.jobs.all());
  if (document.title !== title) document.title = title;
}

setText(byID('topic'), topic);
if (maxUploadBytes() > 0) setText(byID('most'), `, up to ${bytes(maxUploadBytes()).replace('.0 ', ' ')}`);
async function send(files: File[]): Promise<void> {
  if (!isTopic(topic)) {
    say('This address names no topic, so there is nowhere to send a file.');
    return;
  }
  if (files.length > 0) showView('jobs');
  const doubled: string[] = [];
  mayOpen ||= files.length > 0;
  for (const file of files) if (!await uploads.add(file)) doubled.push(file.name);
  if (doubled.length > 0) say(`Already being sent: ${doubled.join(', ')}`);
}
const picker = byID<HTMLInputElement>('picker');
picker.accept = accepted();
takeFiles(byID('drop'), picker, (files) => void send(files), say);

function paintChoice(): void {
  setText(byID('drop-title'), `Drop a file to ${isExporting() ? 'export' : 'analyze'} it`);
}
for (const choice of byID('then').querySelectorAll('input')) {
  choice.addEventListener('change', paintChoice);
}
paintChoice(); // browsers keep a choice over a reload
setHidden(byID('then'), !makesDatasets());
setHidden(byID('views'), !makesDatasets());
window.addEventListener('hashchange', paintView);

onWake(() => {
  connection.wake();
  uploads.wake();
});
onLeave(() => follower.flush());
window.setInterval(() => {
  badge.paint();
  list.tick();
  paintTab();
  if (document.visibilityState === 'visible' && follower.state.name === 'live') void queues.look(Date.now());
}, 1_000);

if (isTopic(topic)) {
  list.mark([]);
  paintView();
  follower.start();
  connection.connect();
} else {
  setText(byID('asked-topic'), topic);
  const home = byID<HTMLAnchorElement>('own-topic');
  home.href = location.pathname;
  setText(home, `Show ${ownTopic()}`);
  for (const id of ['topic', 'badge', 'drop', 'views']) setHidden(byID(id), true);
  setHidden(byID('no-topic'), false);
}
