import { controlJob, fetchJob, retryJob } from './api';
import { clock, localStorageOrNone, onLeave, onWake, openSocket, pageTopic, socketURL, uploadType } from './browser';
import { Connection, hasEnded, LocalStore, TopicFollower } from './client';
import { Uploads } from './uploads';
import { Badge } from './view/badge';
import { takeFiles } from './view/drop';
import { byID, setText } from './view/element';
import { JobList } from './view/list';
import { TransferList } from './view/transfers';
import { Unfolded } from './view/unfolded';

const topic = pageTopic();
const connection = new Connection({ url: socketURL(), open: openSocket, clock, random: Math.random });
const storage = localStorageOrNone();
const follower = new TopicFollower({
  connection, topic, clock, random: Math.random, fetchJob,
  store: storage && new LocalStore(storage, `tidemark:${topic}`),
});

const sent = new Set<string>();
const uploads = new Uploads({
  topic,
  typeOf: uploadType,
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

const list = new JobList(follower.jobs, {
  live: byID('live'), liveCount: byID('live-count'), liveSection: byID('live-section'),
  ended: byID('ended'), endedCount: byID('ended-count'), endedSection: byID('ended-section'),
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
    if (sent.has(id)) sent.add(again);
    const view = await fetchJob(again);
    if (view) follower.offer(view);
  },
  isSought: (id) => follower.isSought(id),
  feeding: (id) => uploads.feeds(id),
  isOwn: (id) => sent.has(id),
  isLive: () => follower.state.name === 'live',
});

follower.listen({
  jobsChanged: (ids) => {
    for (const id of ids) {
      const job = follower.jobs.get(id);
      if (job && hasEnded(job.view.state)) uploads.stop(id);
    }
    transfers.paint(uploads.transfers);
    list.mark(ids);
  },
  stateChanged: (state) => {
    if (state.name === 'live') uploads.wake();
    list.mark([]);
  },
});

const badge = new Badge(byID('badge'), connection, follower);
const notice = byID('notice');
const say = (text: string): void => setText(notice, text);

setText(byID('topic'), topic);
async function send(files: File[]): Promise<void> {
  const doubled: string[] = [];
  for (const file of files) if (!await uploads.add(file)) doubled.push(file.name);
  if (doubled.length > 0) say(`Already being sent: ${doubled.join(', ')}`);
}
takeFiles(byID('drop'), byID<HTMLInputElement>('picker'), (files) => void send(files), say);

onWake(() => {
  connection.wake();
  uploads.wake();
});
onLeave(() => follower.flush());
window.setInterval(() => {
  badge.paint();
  list.tick();
}, 1_000);

list.mark([]);
follower.start();
connection.connect();
