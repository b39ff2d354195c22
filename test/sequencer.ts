// The order in which files of tests run: as vitest has it, with those of the browser spread among the others.
//
// A page waits for its worker, for files and for what it shows, so a browser by itself leaves cores idle. Vitest
// would begin with all of them.
import { BaseSequencer, type TestSpecification } from "vitest/node";

export class SpreadSequencer extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- no array's
    const sorted = await super.sort(files);
    const named = (name: string) => sorted.filter(({ project }) => project.name === name);
    const [browser, unit] = [named("browser"), named("unit")];
    // The shortest of all stay at the end, where the workers finish together.
    const long = sorted.filter((file) => !browser.includes(file) && !unit.includes(file));
    const each = Math.ceil(long.length / Math.max(1, browser.length));
    const spread = browser.flatMap((file, i) => [file, ...long.slice(i * each, (i + 1) * each)]);
    return [...spread, ...(browser.length === 0 ? long : []), ...unit];
  }
}
