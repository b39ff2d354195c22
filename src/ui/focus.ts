// Where the keyboard goes on when what it was on is gone.

/** To the screen's title, as when the screen was opened; after a dialog has tried to give the focus back. */
export function focusTitleIfLost(): void {
  requestAnimationFrame(() => {
    if (document.activeElement && document.activeElement !== document.body) return;
    document.querySelector<HTMLElement>("#content h1")?.focus();
  });
}
