// What a data set says of itself, between who reads its README and who looks for its files.

/** One of a data set's configs ("subsets"). */
export interface DataConfig {
  readonly name: string;
  readonly isDefault: boolean;
  /** A folder to which everything else is relative; "" for all of the repo. */
  readonly folder: string;
  /** Patterns of files by split; undefined where their names are to tell. */
  readonly splits: ReadonlyMap<string, readonly string[]> | undefined;
}
