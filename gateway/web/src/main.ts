import { controlJob, fetchJob, fetchQueues, removeJob, retryJob } from './api';
import { accepted, clock, isTopic, localStorageOrNone, maxUploadBytes, onLeave, onWake, openSocket, ownTopic, pageTopic, socketURL, uploadType, wantedOf } from './browser';
import { Connection, hasEnded, LocalStore, TopicFollower } from './client';
import { Queues } from './queues';
import { refusalOf } from './refusal';
import { Uploads } from './uploads';
import { Badge } from './view/badge';
import { takeFiles } from './view/drop';
import { byID, setHidden, setText } from './view/element';
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

/** The jobs whose files came from this page. */
const sent = new Set<string>();
/** One profile opens by itself: that of the first to end of the files that were chosen last. */
let mayOpen = false;
const uploads = new Uploads({
  topic,
  typeOf: uploadType,
  refusalOf: (file) => refusalOf(file, wantedOf(file.name)),
  changed: () => {
    for (const { job } of uploads.transfers) if (job) sent.add(job);
    transfers.paint(uploads.transfers);
    list.markLive();
  },
});

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
});

follower.listen({
  jobsChanged: (ids) => {
    for (const id of ids) {
      const job = follower.jobs.get(id);
      if (job && hasEnded(job.view.state)) uploads.stop(id);
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
  const doubled: string[] = [];
  mayOpen ||= files.length > 0;
  for (const file of files) if (!await uploads.add(file)) doubled.push(file.name);
  if (doubled.length > 0) say(`Already being sent: ${doubled.join(', ')}`);
}
const picker = byID<HTMLInputElement>('picker');
picker.accept = accepted();
takeFiles(byID('drop'), picker, (files) => void send(files), say);

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
  follower.start();
  connection.connect();
} else {
  setText(byID('asked-topic'), topic);
  const home = byID<HTMLAnchorElement>('own-topic');
  home.href = location.pathname;
  setText(home, `Show ${ownTopic()}`);
  for (const id of ['topic', 'badge', 'drop']) setHidden(byID(id), true);
  setHidden(byID('no-topic'), false);
}
