// Numbers as people read them: bytes, counts, durations.

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

export function formatBytes(bytes: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), BYTE_UNITS.length - 1);
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${BYTE_UNITS[power] ?? "B"}`;
}

/** { weights: 2 ** 30, lossChunk: 2 ** 20 } → "weights 1.0 GiB, loss chunk 1.0 MiB"; zeros are left out. */
export function formatBytesByKind(kinds: Readonly<Record<string, number>>): string {
  return Object.entries(kinds)
    .filter(([, bytes]) => bytes > 0)
    .map(([kind, bytes]) => {
      const words = kind.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      return `${words} ${formatBytes(bytes)}`;
    })
    .join(", ");
}

/** 1234567 → "1,234,567", the same in every locale. */
export function formatCount(count: number): string {
  return String(Math.round(count)).replaceAll(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** "1 row", "2,000 rows"; "3 passes" with its plural given. */
export function countOf(count: number, noun: string, plural = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : plural}`;
}

/** "8 s", "3:07", "1:02:45". */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes}:${two(whole % 60)}`;
  return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

function two(count: number): string {
  return String(count).padStart(2, "0");
}
