/** `node bench/profile.ts FILE [LINES]`: the functions of a CPU profile by their own time, and by time with callees. */
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { short, table } from "./statistics.ts";

interface Profile {
  nodes: {
    id: number;
    callFrame: { functionName: string; url: string; lineNumber: number };
    children?: number[];
  }[];
  samples: number[];
  timeDeltas: number[];
}

const [file, lines = "40"] = process.argv.slice(2);
const profile = JSON.parse(readFileSync(file!, "utf8")) as Profile;
const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
const parent = new Map(
  profile.nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id] as const)),
);
const name = ({ callFrame: { functionName, url, lineNumber } }: Profile["nodes"][number]) =>
  `${functionName || "(anonymous)"} ${url === "" ? "" : `${basename(url)}:${lineNumber + 1}`}`;

const own = new Map<string, number>();
const all = new Map<string, number>();
let busy = 0;
for (const [i, sample] of profile.samples.entries()) {
  const time = profile.timeDeltas[i]!;
  const leaf = nodes.get(sample)!;
  if (leaf.callFrame.functionName === "(idle)") continue;
  busy += time;
  own.set(name(leaf), (own.get(name(leaf)) ?? 0) + time);
  const seen = new Set<string>();
  for (let id: number | undefined = sample; id !== undefined; id = parent.get(id)) seen.add(name(nodes.get(id)!));
  for (const each of seen) all.set(each, (all.get(each) ?? 0) + time);
}

function print(title: string, times: Map<string, number>): void {
  const top = [...times].sort((a, b) => b[1] - a[1]).slice(0, Number(lines));
  console.log(`\n${title} (% of ${short(busy / 1e6)} s busy)`);
  console.log(table(top.map(([what, time]) => [what, short((100 * time) / busy)])));
}
print("own time", own);
print("with callees", all);
