// A blade drawn over a stone.
export function Logo() {
  return (
    <svg viewBox="0 0 24 24" fill="none" aria-hidden="true">
      <path d="M3 17.5h18" stroke="currentColor" stroke-width="3" stroke-linecap="round" />
      <path d="M4.5 12.5 19 3.5l.8 1.6a3 3 0 0 1-1.2 3.9l-7 3.5z" fill="currentColor" />
    </svg>
  );
}
