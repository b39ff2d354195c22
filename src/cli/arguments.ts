// Words of a command line as XTuner takes them too: commands in any case, flags with underscores.

/**
 * The words after `hone` in the one spelling that the commands know: `TRAIN` is train, `--work_dir` is
 * --work-dir. Whatever follows a `--` alone stays as it is.
 */
export function readWords(words: readonly string[]): string[] {
  const end = words.indexOf("--");
  return words.map((word, i) => {
    if (end >= 0 && i >= end) return word;
    if (i === 0)
      return /^[A-Za-z_-]+$/.test(word) && !word.startsWith("-") ? word.toLowerCase() : word;
    return word.replace(/^--[a-z]+(_[a-z]+)+(?==|$)/, (flag) => flag.replaceAll("_", "-"));
  });
}
