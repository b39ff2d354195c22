// Types of setup.mjs, which is plain JavaScript because it runs before anything is installed.
export declare const cacheDirectory: string;
export declare function pythonPath(environment: "current" | "oldest-peft"): string;
export declare function setUp(): void;
