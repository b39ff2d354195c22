// Types of serve.mjs.
export declare function serve(options: {
  /** The built page's folder. */
  readonly root: string;
  /** The hub's origin; the default is Hugging Face's. */
  readonly hub?: string;
  /** Default: 4173 or the next free one; 0 takes any. */
  readonly port?: number;
  /** A loopback name or address. */
  readonly host?: string;
}): Promise<{ readonly url: string; close(): Promise<void> }>;
