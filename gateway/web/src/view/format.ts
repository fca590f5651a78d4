// Numbers, sizes and times as people read them. The page is in English, so its numbers are.

const locale = 'en';
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat(locale, { maximumSignificantDigits: 6 });
const compact = new Intl.NumberFormat(locale, { notation: 'compact', maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const day = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
const full = new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'long' });

const sizes = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function percentTenths(percent: number): string {
  return percent.toFixed(1);
}

/** 1536 as "1.5 KiB". */
export function bytes(n: number): string {
  const power = sizeOf(n);
  return `${scaled(n, power)} ${sizes[power]}`;
}

function sizeOf(n: number): number {
  let power = 0;
  for (let rest = Math.abs(n); rest >= 1023.5 && power < sizes.length - 1; rest /= 1024) power++;
  return power;
}

function scaled(n: number, power: number): string {
  const value = n / 1024 ** power;
  return power === 0 ? whole.format(value) : value.toFixed(value < 100 ? 1 : 0);
}

export function count(n: number): string {
  return whole.format(n);
}

/** A figure in little room: "1.23M". */
export function brief(n: number): string {
  return Math.abs(n) < 10_000 ? precise.format(n) : compact.format(n);
}

/** A statistic: at most six digits that count, and exponents only where they help. */
export function figure(n: number | string): string {
  if (typeof n === 'string') return n;
  if (Number.isInteger(n) && Math.abs(n) < 1e15) return whole.format(n);
  const size = Math.abs(n);
  return size !== 0 && (size >= 1e12 || size < 1e-4) ? n.toExponential(4) : precise.format(n);
}

export function share(part: number, of: number): string {
  if (of <= 0 || part <= 0) return '0 %';
  const percent = (100 * part) / of;
  if (percent < 0.1) return '< 0.1 %';
  if (percent > 99.9 && part < of) return '> 99.9 %';
  return `${percent < 10 ? percent.toFixed(1).replace('.0', '') : percent.toFixed(0)} %`;
}

/** What has been done, as "12.0 of 48.2 MiB" or "3,000 of 10,000 rows". */
export function amount(done: number, total: number | undefined, unit: string | undefined): string {
  if (unit === 'bytes') {
    if (total === undefined) return bytes(done);
    const power = sizeOf(total);
    return `${scaled(done, power)} of ${scaled(total, power)} ${sizes[power]}`;
  }
  const name = unit ? ` ${unit}` : '';
  return total === undefined ? `${count(done)}${name}` : `${count(done)} of ${count(total)}${name}`;
}

export function rate(perSecond: number, unit: string | undefined): string {
  if (unit === 'bytes') return `${bytes(perSecond)}/s`;
  const figures = perSecond < 10 ? perSecond.toFixed(1) : count(perSecond);
  return unit ? `${figures} ${unit}/s` : `${figures}/s`;
}

/** A span of time by its two largest units: "1 min 20 s". */
export function span(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3_600) return two(Math.floor(s / 60), 'min', s % 60, 's');
  if (s < 86_400) return two(Math.floor(s / 3_600), 'h', Math.floor((s % 3_600) / 60), 'min');
  return two(Math.floor(s / 86_400), 'd', Math.floor((s % 86_400) / 3_600), 'h');
}

function two(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** A moment in the reader's own time zone: the hour if it is today's, else with its day. */
export function when(ms: number, now: number): string {
  return new Date(ms).toDateString() === new Date(now).toDateString() ? clock.format(ms) : day.format(ms);
}

export function exactly(ms: number): string {
  return full.format(ms);
}
