/** Numbers as people read them, with their units, in the language of the texts. Every function is pure. */

const byteSteps = ["B", "kB", "MB", "GB", "TB", "PB"] as const;
const countSteps = ["", "k", "M", "B", "T"] as const;

export interface Format {
  /** 1,234,567 */
  count(value: number): string;
  /** 1.23 M: three significant digits. */
  short(value: number): string;
  /** 50 k: as `short` without trailing zeros, for axes. */
  tick(value: number): string;
  /** 12.3 MB, in powers of 1000. */
  bytes(value: number): string;
  /** 1.834 */
  loss(nats: number): string;
  /** 37 % of one, from 0 … 1. */
  percent(fraction: number): string;
  /** 3.28, from bytes per second. */
  megabits(bytesPerSecond: number): string;
  /** 0.1250, from integer micro-credits; cut and not rounded, so that it never shows more than there is. */
  credits(microCredits: number): string;
  /** 1 h 12 min */
  duration(seconds: number): string;
  /** 14:03 */
  minute(atMs: number): string;
  /** 14:03:09 */
  time(atMs: number): string;
  /** 3 Mar */
  date(atMs: number): string;
  /** 3 Mar, 14:03:09 */
  dateTime(atMs: number): string;
}

export function createFormat(locale: string): Format {
  const number = (options: Intl.NumberFormatOptions) => new Intl.NumberFormat(locale, options);
  const whole = number({ maximumFractionDigits: 0 });
  const significant = number({ maximumSignificantDigits: 3, minimumSignificantDigits: 3 });
  const small = number({ maximumSignificantDigits: 3 });
  const three = number({ minimumFractionDigits: 3, maximumFractionDigits: 3 });
  const percentage = number({ style: "percent", maximumFractionDigits: 0 });
  const finePercentage = number({ style: "percent", maximumSignificantDigits: 2 });
  const creditAmount = number({
    minimumFractionDigits: 4,
    maximumFractionDigits: 4,
    roundingMode: "trunc",
  });
  const clock = new Intl.DateTimeFormat(locale, { timeStyle: "medium", hourCycle: "h23" });
  const minutes = new Intl.DateTimeFormat(locale, { timeStyle: "short", hourCycle: "h23" });
  const calendar = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
  const day = new Intl.DateTimeFormat(locale, {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    hourCycle: "h23",
  });

  const scaled = (value: number, steps: readonly string[], large = significant): string => {
    // The step is chosen after rounding to three digits, so that 999,999 reads 1.00 M and not 1000 k.
    const rounded = Number(Math.abs(value).toPrecision(3));
    const step = rounded < 1000 ? 0 : Math.min(steps.length - 1, Math.floor(Math.log10(rounded) / 3 + 1e-9));
    const digits = step === 0 ? small.format(value) : large.format(value / 1000 ** step);
    const unit = steps[step] ?? "";
    return unit === "" ? digits : `${digits}\u00a0${unit}`;
  };

  return {
    count: (value) => whole.format(value),
    short: (value) => scaled(value, countSteps),
    tick: (value) => scaled(value, countSteps, small),
    bytes: (value) => scaled(value, byteSteps),
    megabits: (bytesPerSecond) => small.format((bytesPerSecond * 8) / 1e6),
    loss: (nats) => three.format(nats),
    percent: (fraction) => (fraction > 0 && fraction < 0.01 ? finePercentage : percentage).format(fraction),
    credits: (microCredits) => creditAmount.format(microCredits / 1e6),
    duration: (seconds) => duration(seconds, whole),
    minute: (atMs) => minutes.format(atMs),
    time: (atMs) => clock.format(atMs),
    date: (atMs) => calendar.format(atMs),
    dateTime: (atMs) => day.format(atMs),
  };
}

/** The two largest units that are not zero at the front: 43 s, 12 min 5 s, 1 h 12 min, 3 d 4 h. */
function duration(seconds: number, whole: Intl.NumberFormat): string {
  const total = Math.max(0, Math.floor(seconds));
  const units = [
    [Math.floor(total / 86_400), "d"],
    [Math.floor(total / 3600) % 24, "h"],
    [Math.floor(total / 60) % 60, "min"],
    [total % 60, "s"],
  ] as const;
  const first = units.findIndex(([amount]) => amount > 0);
  const shown = units.slice(first === -1 ? -1 : first).slice(0, 2);
  return shown
    .filter(([amount], index) => index === 0 || amount > 0)
    .map(([amount, unit]) => `${whole.format(amount)}\u00a0${unit}`)
    .join(" ");
}
