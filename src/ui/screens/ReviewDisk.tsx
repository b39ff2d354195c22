// What the run's checkpoints take of the browser's storage.
import { Show } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import { Fact } from "../parts/Bits.tsx";
import { Notice } from "../parts/Notice.tsx";
import { checkpointSpace } from "../review.ts";
import { useSession, useText } from "../session.ts";

export function ReviewDisk() {
  const { check, recipe } = useSession();
  const text = useText();
  const words = () => text().plan.review.disk;
  const one = () => recipe.plan.estimate()?.checkpointBytes ?? 0;
  const all = () => checkpointSpace(recipe.config(), one());
  const kept = () => {
    const count = recipe.config().save_total_limit;
    return count < 0
      ? words().allKept(formatBytes(one()))
      : words().kept(count, formatBytes(count * one()));
  };
  const free = () => {
    const storage = check.storage();
    return storage && Math.max(0, storage.quotaBytes - storage.usedBytes);
  };
  return (
    <section class="card">
      <h2>{words().title}</h2>
      <dl class="facts">
        <Show when={one() > 0}>
          <Fact name={words().checkpoint}>
            {formatBytes(one())}
            <p class="small quiet">{kept()}</p>
          </Fact>
        </Show>
        <Show when={free() !== undefined}>
          <Fact name={words().free}>{formatBytes(free() ?? 0)}</Fact>
        </Show>
      </dl>
      <Show when={(free() ?? Infinity) < all()}>
        <Notice
          kind="warn"
          problem={words().notEnough(formatBytes(all()), formatBytes(free() ?? 0)).problem}
          remedy={words().notEnough("", "").remedy}
        />
      </Show>
    </section>
  );
}
