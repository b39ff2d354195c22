// Types of page-policy.mjs.
export declare const DEFAULT_HUB: string;
export declare function contentPolicy(hub: string): string;
export declare function pageHeaders(hub: string): Readonly<Record<string, string>>;
export declare function withHub(html: string, hub: string): string;
export declare function hubOrigin(text: string): string;
