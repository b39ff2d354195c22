// What the GPU and the storage offer, in numbers.
import { Show } from "solid-js";
import { formatBytes } from "../../base/format.ts";
import { Fact } from "../parts/Bits.tsx";
import { useSession, useText } from "../session.ts";

export function CheckFacts() {
  const { check } = useSession();
  const text = useText();
  const words = () => text().plan.check.facts;
  const yesNo = (is: boolean) => (is ? words().yes : words().no);
  return (
    <section class="card">
      <h2>{words().title}</h2>
      <dl class="facts">
        <Show when={check.gpu()}>
          {(gpu) => (
            <>
              <Fact name={words().gpu}>{gpu().name.trim() || words().unnamed}</Fact>
              <Fact name={words().f16}>{yesNo(gpu().hasF16)}</Fact>
              <Fact name={words().subgroups}>{yesNo(gpu().hasSubgroups)}</Fact>
              <Fact name={words().buffer}>{formatBytes(gpu().maxBufferBytes)}</Fact>
              <Fact name={words().binding}>{formatBytes(gpu().maxBindingBytes)}</Fact>
            </>
          )}
        </Show>
        <Show when={check.storage()}>
          {(storage) => (
            <>
              <Fact name={words().storage}>
                {words().storageUsed(
                  formatBytes(storage().usedBytes),
                  formatBytes(storage().quotaBytes),
                )}
              </Fact>
              <Fact name={words().kept}>
                {storage().isPersistent ? words().yes : words().notPromised}
              </Fact>
            </>
          )}
        </Show>
      </dl>
    </section>
  );
}
