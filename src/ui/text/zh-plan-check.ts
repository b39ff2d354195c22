// Chinese: Check.
import type { Browser, Support, System, Visitor } from "../support.ts";
import type { enCheck } from "./en-plan-check.ts";

const MISSING: Readonly<Record<Browser, string>> = {
  chrome:
    "请更新 Chrome：113 版起支持 WebGPU（Android 上为 121 版）。如果已是最新版，说明 WebGPU 被关闭了，原因可在 chrome://gpu 查看。",
  edge: "请更新 Edge：113 版起支持 WebGPU。如果已是最新版，说明 WebGPU 被关闭了，原因可在 edge://gpu 查看。",
  safari: "请升级到 macOS 26 以使用 Safari 26，或在这台 Mac 上使用新版 Chrome。",
  firefox:
    "请更新 Firefox：Windows 上 141 版起、macOS 上 145 版起支持 WebGPU。其他系统请使用新版 Chrome。",
  other: "Hone 需要 WebGPU。新版的 Chrome、Edge、Safari 和 Firefox 都支持。",
};

const NO_ADAPTER: Readonly<Record<Browser, string>> = {
  chrome:
    "打开 chrome://settings/system，启用“使用图形加速功能（如果可用）”，然后重启 Chrome，并更新显卡驱动。GPU 被屏蔽的原因可在 chrome://gpu 查看。",
  edge: "打开 edge://settings/system，启用“使用图形加速（如果可用）”，然后重启 Edge，并更新显卡驱动。GPU 被屏蔽的原因可在 edge://gpu 查看。",
  safari: "关闭其他标签页并重启 Safari。锁定模式会关闭 WebGPU，请为本站停用锁定模式。",
  firefox:
    "打开“设置 → 常规 → 性能”，启用硬件加速；GPU 被屏蔽的原因可在 about:support 查看。也可以改用新版 Chrome。",
  other: "请在浏览器设置中启用硬件加速，并更新显卡驱动。",
};

/** Where the system decides more than the browser. */
const MISSING_ON: Partial<Readonly<Record<System, string>>> = {
  ios: "请升级到 iOS 或 iPadOS 26：那里的所有浏览器都由系统提供 WebGPU。",
};
const NO_ADAPTER_ON: Partial<Readonly<Record<System, string>>> = {
  ios: "关闭其他应用和标签页，关闭低电量模式，然后重新打开本页。",
  android:
    "关闭其他应用后重新打开本页。WebGPU 需要 Android 12，以及高通、ARM、Imagination 或三星的 GPU。",
};

function remedyOf(found: Exclude<Support, "ok">, { browser, system }: Visitor): string {
  if (found === "insecure") {
    return "请通过 https 打开，或在本机用 localhost 打开：只有这样浏览器才会提供 GPU 并保存文件。";
  }
  if (found === "missing") return MISSING_ON[system] ?? MISSING[browser];
  const step = NO_ADAPTER_ON[system] ?? NO_ADAPTER[browser];
  return system === "linux" && browser === "chrome"
    ? `打开 chrome://flags/#enable-unsafe-webgpu，选择“Enabled”并重启 Chrome：在 Linux 上可能需要这样做。否则：${step}`
    : step;
}

export const zhCheck: typeof enCheck = {
  title: "检测",
  lead: "这个浏览器和 GPU 能不能微调模型？能微调多大的模型？无需安装任何东西，数据也不会离开这台机器。",
  looking: "正在检测 GPU……",
  sample: {
    title: "现在就用示例试一试",
    text: "页面自带一个小模型和一份小数据集，模型将学会“自己是谁”：无需下载，在多数 GPU 上只要一两分钟，之后就可以和它对话。",
    button: "用示例试一试",
    preparing: "正在准备示例……",
    steps: "先点这里，再点“开始训练”，最后点“和它对话”。",
  },
  support: {
    ready: "这个浏览器可以微调模型。",
    readySoftware: "这个浏览器可以微调模型，但比较慢：没有 GPU，由处理器完成计算。",
    cannot: "这里暂时还不能训练。",
    problem: {
      insecure: (address) => `本页是从 ${address} 打开的，这个地址没有使用 https，浏览器不信任它。`,
      missing: (_address) => "这个浏览器不支持 WebGPU，或者它被关闭了。",
      none: (_address) => "这个浏览器支持 WebGPU，但没有提供可用的 GPU。",
    },
    remedy: remedyOf,
  },
  notes: {
    noF16: {
      problem: "这块 GPU 不支持 16 位运算（shader-f16）。",
      remedy: "一切功能照常；中间结果占用的内存翻倍，训练也会慢一些。",
    },
    software: {
      problem: "当前使用的是软件适配器：结果正确，但速度慢。",
      remedy:
        "页面自带的模型一两分钟就能训练完。要训练更大的模型，请启用硬件加速，或换一台有 GPU 的机器。",
    },
    smallBudget: (budget) => ({
      problem: `GPU 内存只有 ${budget}，比较少：只放得下最小的模型。`,
      remedy: "请关闭其他程序、在下方实测一次，或换一台内存更大的机器。",
    }),
    storageNone: {
      problem: "浏览器不为本页保存文件，某些无痕窗口就是如此。",
      remedy: "请在普通窗口中打开本页：模型、数据和训练记录都需要存放的地方。",
    },
    storageSmall: (free) => ({
      problem: `浏览器只给模型和训练记录留了 ${free}。`,
      remedy: "请在普通窗口中打开本页、清理磁盘空间，或删除不再需要的模型和训练记录。",
    }),
    storageTemporary: {
      problem: "磁盘快满时，浏览器可能会清除本页的文件。",
      remedy: "可以请求浏览器保留它们。有的浏览器会自行决定，或只保留已加书签的页面的文件。",
    },
    keep: "保留我的文件",
    kept: "浏览器会保留这些文件。",
    notKept: "浏览器没有答应保留这些文件。",
    notKeptRemedy: "请为本页添加书签或安装本页后再试一次；重要的结果请导出。",
  },
  facts: {
    title: "这块 GPU",
    gpu: "适配器",
    unnamed: "未提供名称",
    f16: "16 位运算",
    subgroups: "子组运算",
    buffer: "最大缓冲区",
    binding: "最大绑定",
    storage: "存储空间",
    storageUsed: (used, quota) => `${used} / ${quota}`,
    kept: "文件会保留",
    yes: "是",
    no: "否",
    notPromised: "未承诺",
  },
  kernels: {
    title: "内核变体",
    rule: "最耗时的内核（在 GPU 上运行的程序）都有多种变体。第一次使用某个模型之前，会用几秒钟在这块 GPU 上试算：结果不对的弃用，留下最快的。",
    why: {
      off: "试算已关闭：每个内核都用不经试算就选定的变体。",
      software: "用处理器计算时不试算：编译一个变体所花的时间比它能省下的还多。",
    },
    none: "还没有试算过：训练或与模型对话时会自动进行。",
    sizes: (matrix, tokens, type) => `矩阵 ${matrix}，${tokens} 个词元，${type}`,
    kernel: "内核",
    variant: "变体",
    time: "用时",
    ratio: "速度",
    chosen: "使用中",
    notTried: "未试：时间已到",
    faults: {
      failed: "弃用：驱动程序不接受",
      unwritten: "弃用：有元素没有写入",
      wrong: "弃用：结果不对",
      unsteady: "弃用：再次运行时结果不同",
      crashed: "跳过：试算时页面曾意外结束",
    },
    tryNow: "现在试算",
    trying: "正在试算……",
    progress: (kernel, done, total) => `${done} / ${total} ${kernel}`.trim(),
  },
  budget: {
    title: "一次训练可用的 GPU 内存",
    why: "浏览器不会说明 GPU 有多少内存。这是一个保守的猜测：取浏览器所报告的机器内存的一半，最多 6 GiB，手机上为 1 GiB。",
    own: "这是你自己填写或实测得到的数值，能否放得下以它为准。",
    field: "一次训练最多占用",
    help: "单位 GiB。需要更多内存的训练仍然可以开始。",
    takes: "请填写 0.1 到 1024 之间的数。",
    measure: "实测",
    measuring: "正在测量……",
    warning: "测量时会不断占用 GPU 内存直到用尽，随后立即归还。其他程序可能会卡顿片刻。",
  },
  sizes: {
    title: "放得下哪些模型",
    rule: "这是按“均衡”配方做 4 位微调的经验估算；每个模型的卡片上有精确的数字。",
    model: "模型",
    needs: "大约需要",
    verdict: "在这里",
    largest: (model) => `最大放得下 ${model}。`,
    software: "这只是就内存而言。没有 GPU 时，只有 Seedling 能在几分钟内训练完。",
    noneFits: "内存太少，这些模型都放不下。",
  },
};
