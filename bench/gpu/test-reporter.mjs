// Tells of each test file as it ends, a line of JSON each, so that tests that are ended half way leave what they found.
import { appendFileSync } from "node:fs";
import { relative } from "node:path";

// oxlint-disable-next-line import/no-default-export -- Vitest takes it by no other name
export default class TestReporter {
  onTestModuleEnd(module) {
    const tests = [...module.children.allTests()];
    const inState = (state) => tests.filter((test) => test.result().state === state);
    const failures = inState("failed").map((test) => ({
      test: test.fullName,
      message: messageOf(test.result().errors),
    }));
    // A file that does not load has errors and no tests.
    if (!module.ok() && failures.length === 0)
      failures.push({ message: messageOf(module.errors()) });
    const line = {
      file: relative(process.cwd(), module.moduleId),
      passed: inState("passed").length,
      skipped: inState("skipped").length,
      failures,
    };
    appendFileSync(process.env.HONE_TEST_REPORT, `${JSON.stringify(line)}\n`);
  }
}

function messageOf(errors = []) {
  return errors
    .map(({ message }) => message)
    .join("\n")
    .slice(0, 500);
}
