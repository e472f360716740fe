// The memory of open pages while changes come in: of the overview, and of a list that was scrolled.
// .ci/pages.py starts it, and makes the changes once it prints "ready".
import { chromium } from "playwright-core";
import { execFileSync } from "node:child_process";

const url = process.argv[2];
const executablePath = execFileSync("sh", ["-c", "command -v chromium"], { encoding: "utf8" }).trim();
const browser = await chromium.launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
const pages = [];
for (const path of ["/", "/deployments"]) {
  const page = await (await browser.newContext()).newPage();
  await page.goto(url + path);
  await page.locator("#live.on").waitFor();
  pages.push({ path, session: await page.context().newCDPSession(page), seen: [] });
}
const look = async () => {
  for (const one of pages) {
    await one.session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await one.session.send("Runtime.getHeapUsage");
    const { nodes } = await one.session.send("Memory.getDOMCounters");
    one.seen.push({ mb: usedSize / 1e6, nodes });
  }
};
console.log("ready");
for (let at = 0; at < 6; at += 1) {
  await new Promise((resolve) => setTimeout(resolve, 10000));
  await look();
}
let grows = false;
for (const { path, seen } of pages) {
  const [first, last] = [seen[0], seen.at(-1)];
  console.log(`page ${path}: MB ${seen.map((one) => one.mb.toFixed(1)).join(" ")}; nodes ${seen.map((one) => one.nodes).join(" ")}`);
  grows ||= last.mb > first.mb * 1.5 + 2 || last.nodes > first.nodes * 1.5 + 500;
}
await browser.close();
process.exit(grows ? 1 : 0);
