// A button that goes with what it did leaves the focus where it was, on what stood around it: whoever works
// with the keyboard or listens goes on from there, and not from the top of the page.

/** Watches the page for as long as it is open. */
export function keepFocus(): void {
  let around: Element[] = [];
  document.addEventListener("focusin", ({ target }) => {
    around = [];
    for (let at = target as Element | null; at; at = at.parentElement) around.push(at);
  });
  new MutationObserver(() => {
    const [last] = around;
    if (!last || last.isConnected || document.activeElement !== document.body) return;
    const left = around.find((element) => element.isConnected && element !== document.body);
    if (left instanceof HTMLElement && document.body.contains(left)) focus(left);
  }).observe(document.body, { childList: true, subtree: true });
}

function focus(element: HTMLElement): void {
  if (!element.hasAttribute("tabindex")) {
    element.tabIndex = -1;
    element.addEventListener("blur", () => element.removeAttribute("tabindex"), { once: true });
  }
  element.focus({ preventScroll: true });
}
