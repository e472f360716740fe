// A tour through every page and action of the dashboard.
import { chromium } from "playwright-core";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { execFileSync } from "node:child_process";
import assert from "node:assert/strict";

const { TKO_URL: url, TKO_CLOSED_URL: closedUrl, TKO_CHROMIUM: chromiumName, TKO_SHOTS: shots } = process.env;
const executablePath = execFileSync("sh", ["-c", 'command -v "$0"', chromiumName], { encoding: "utf8" }).trim();
const axe = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const input = createInterface({ input: process.stdin });
const ask = (what) => new Promise((resolve) => { input.once("line", resolve); console.log("ask: " + what); });

const browser = await chromium.launch({
  executablePath, headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
const problems = [];
const watched = async (options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, colorScheme: "light", ...options });
  const page = await context.newPage();
  page.on("console", (message) => { if (!page.quiet) problems.push(`console of ${page.url()}: ${message.text()}`); });
  page.on("pageerror", (error) => problems.push(`error on ${page.url()}: ${error}`));
  page.on("dialog", (dialog) => { problems.push(`dialog on ${page.url()}: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (request) => {
    const origin = new URL(request.url()).origin;
    if (origin !== new URL(url).origin && origin !== new URL(closedUrl).origin) problems.push(`foreign request ${request.url()}`);
  });
  return page;
};
const checked = async (page, name) => {
  // Outside of the page's own world, where its policy does not apply.
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
  await session.send("Runtime.evaluate", { contextId: executionContextId, expression: axe });
  const { result } = await session.send("Runtime.evaluate", {
    contextId: executionContextId, awaitPromise: true, returnByValue: true,
    expression: `axe.run(document, { resultTypes: ["violations"] }).then(r => r.violations.filter(v => v.impact === "serious" || v.impact === "critical").map(v => v.id + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " | " + n.failureSummary.replaceAll("\\n", " ").slice(0, 200)).join("; ")))`,
  });
  for (const found of result.value ?? [String(result.description)]) problems.push(`axe on ${name}: ${found}`);
  await session.detach();
};
// A busy machine can be slow: only what never comes is a failure.
const until = async (what, test, limit = 60000) => {
  const began = Date.now();
  for (;;) {
    try { if (await test()) return Date.now() - began; } catch (error) { if (Date.now() - began > limit) throw error; }
    if (Date.now() - began > limit) throw new Error(`not in ${limit} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};
const isLive = (page) => until("live", () => page.locator("#live.on").count());
const api = async (method, path, body, headers = {}) => {
  const response = await fetch(url + path, { method, body, headers: { accept: "application/json", ...headers } });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
};
const shot = async (page, name) => {
  await page.evaluate(() => document.activeElement && document.activeElement.blur());
  await page.screenshot({ path: `${shots}/${name}.png` });
};
let step = "";
const at = (name) => { step = name; };

try {
  const first = async (query) => (await api("GET", "/api/v1/deployments?" + query)).items[0].deploymentId;
  const failing = await first("state=failing&template-id=nf/free5gc/smf:*");
  const waiting = await first("state=waiting");
  const topology = await first("template-id=topology/**");
  const page = await watched();
  const pages = [
    ["overview", "/"],
    ["deployments", "/deployments"],
    ["failing", "/deployments?q=--state%20failing"],
    ["sites", "/sites"],
    ["templates", "/templates"],
    ["plugins", "/plugins"],
    ["activity", "/activity"],
    ["about", "/about"],
    ["deployment", `/deployments/${failing}`],
    ["merge", `/deployments/${waiting}?view=merge`],
    ["site", "/sites/india%2Fsouth%2Fedge-0007"],
    ["template", "/templates/nf%2Ffree5gc%2Fsmf%3Av1.4.0"],
    ["plugin", "/plugins/prepare%7Cfree5gc-smf"],
    ["topology", `/deployments/${topology}/topology`],
    ["compare", `/deployments/${failing}/compare`],
    ["confirm", `/confirm/deployments?action=approve&q=--state%20waiting`],
  ];
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const [name, path] of pages) {
      at(`${name} ${scheme}`);
      const response = await page.goto(url + path);
      assert.equal(response.status(), 200, path);
      await isLive(page);
      assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, `${name} is wider than the window`);
      await checked(page, `${name} ${scheme}`);
      await shot(page, `${name}-${scheme}`);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 400, height: 800 });
  for (const [name, path] of pages) {
    at(`${name} narrow`);
    await page.goto(url + path);
    await isLive(page);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, `${name} is wider than 400 pixels`);
    await shot(page, `${name}-narrow`);
  }
  await page.setViewportSize({ width: 1280, height: 800 });

  at("a change is on the screen within a second");
  await page.goto(url + "/");
  await isLive(page);
  const count = async () => Number((await page.locator(".legend .unprepared b").textContent()).replace(",", ""));
  let took;
  const all_took = [];
  do {
    const before = await count();
    await api("POST", "/api/v1/deployments?template=nf/free5gc/upf:v1.4.0&site=india/west/edge-0001");
    took = await until("the count", async () => (await count()) === before + 1);
    all_took.push(took);
  } while (took >= 1000 && all_took.length < 5); // the first ones may fall into a pause of the machine
  console.log(`overview: a change is shown after ${all_took} ms`);
  assert.ok(took < 1000, `shown after ${all_took} ms`);

  at("a row changes in place");
  await page.goto(url + "/deployments?q=--state%20waiting");
  await isLive(page);
  const target = await page.locator("tbody tr").first().getAttribute("id");
  const other = await watched();
  await other.goto(url + "/deployments/" + target.slice(4));
  await isLive(other);
  await other.getByRole("button", { name: "Approve" }).click();
  took = await until("the row is gone", async () => (await page.locator(`[id="${target}"]`).count()) === 0);
  console.log(`list: a change of another browser is shown after ${took} ms`);
  await until("approved", async () => (await other.locator(".steps li").nth(2).getAttribute("class")) === "done");

  at("a whole list catches up after a request that failed");
  let refusals = 0;
  page.quiet = true; // the browser logs the refusal
  await page.route((address) => address.pathname === "/deployments", (route) => {
    refusals += 1;
    return route.fulfill({ status: 503, contentType: "text/html", body: "" });
  }, { times: 1 });
  const { deploymentId: late } = await api("POST", "/api/v1/deployments?template=nf/free5gc/upf:v1.4.0&prepared=true");
  await until("the row after the refusal", async () => (await page.locator(`[id="row-${late}"]`).count()) === 1);
  assert.equal(refusals, 1);
  page.quiet = false;

  at("approve all that match");
  await page.goto(url + "/deployments?q=--state%20waiting");
  const all = await page.locator("tbody tr").count();
  assert.ok(all > 2);
  await page.locator("tbody input[type=checkbox]").nth(0).check();
  await page.locator("tbody input[type=checkbox]").nth(1).check();
  assert.match(await page.locator(".bulk .count").textContent(), /2 selected/);
  await page.getByRole("button", { name: "Approve…" }).click();
  await page.getByRole("button", { name: "Approve 2 deployments" }).click();
  assert.match(await page.locator(".notice").textContent(), /^2 approved/);
  await page.getByRole("button", { name: "Approve…" }).click();
  await page.getByRole("button", { name: new RegExp(`^Approve ${all - 2} deployment`) }).click();
  assert.match(await page.locator(".notice").textContent(), new RegExp(`^${all - 2} approved`));
  assert.equal(await page.locator("tbody tr").count(), 0);

  at("retry now");
  await page.goto(url + "/deployments/" + failing);
  await page.getByRole("button", { name: "Retry now" }).click();
  assert.match(await page.locator(".notice").textContent(), /due now/);

  at("sort by time");
  await page.goto(url + "/deployments");
  await page.getByRole("link", { name: "Updated" }).click();
  await page.locator("th[aria-sort=descending]").waitFor();
  const times = await page.locator("td.age time").evaluateAll((all) => all.map((one) => Date.parse(one.dateTime)));
  assert.ok(times.length > 50 && times.every((time, at) => at === 0 || time <= times[at - 1]));

  at("print");
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.locator("nav.main").isVisible(), false);
  assert.equal(await page.locator("table.list").isVisible(), true);
  await page.emulateMedia({ media: "screen", colorScheme: "light" });

  at("delete");
  await page.goto(url + "/deployments/" + failing);
  await page.getByRole("link", { name: "Delete…" }).click();
  await page.getByRole("link", { name: "Cancel" }).click();
  await page.getByRole("link", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete 1 deployment" }).click();
  assert.match(await page.locator(".notice").textContent(), /^1 deleted/);

  at("reloading a result sends nothing again");
  for (let number = 0; number < 2; number += 1) {
    await api("POST", "/api/v1/deployments?template=nf/free5gc/upf:v1.4.0");
  }
  await page.goto(url + "/deployments?q=--state%20unprepared");
  await page.locator("tbody input[type=checkbox]").nth(0).check();
  await page.locator("tbody input[type=checkbox]").nth(1).check();
  await page.getByRole("button", { name: "Approve…" }).click();
  await page.getByRole("button", { name: "Approve 2 deployments" }).click();
  const listed = await page.locator("#unchanged a.button").getAttribute("href");
  await until("the address of the list", () => page.url() === new URL(listed, url).href);
  const posts = [];
  const seen = (request) => { if (request.method() === "POST") posts.push(request.url()); };
  page.on("request", seen);
  await page.reload();
  await page.locator("table.list").waitFor();
  page.off("request", seen);
  assert.deepEqual(posts, []);

  at("edit");
  const edited = await first("template-id=nf/free5gc/upf:*&prepared=true");
  await page.goto(url + "/deployments/" + edited);
  await page.getByRole("button", { name: "Edit" }).click();
  const area = page.getByLabel("Package in YAML");
  const text = await area.inputValue();
  await area.fill(text + "\n---\n: [broken");
  await until("the problem", async () => (await page.locator(".problems .failing").count()) > 0);
  await checked(page, "edit");
  await area.fill(text + "---\napiVersion: x/v1\nkind: Refused\nmetadata:\n  name: refused\n");
  await until("the refusal while typing", async () => /must not be/.test(await page.locator(".problems").textContent()));
  await shot(page, "edit-light");
  await page.getByRole("button", { name: "Save" }).click();
  assert.match(await page.locator(".problems").textContent(), /must not be/);
  await area.fill(text.replace("sessions: 20000", "sessions: 40000"));
  await page.getByRole("button", { name: "Save" }).click();
  await page.waitForURL(url + "/deployments/" + edited);
  await page.getByRole("link", { name: "diff" }).first().click();
  assert.match(await page.locator(".code .add").first().textContent(), /sessions: 40000/);
  await shot(page, "diff-light");
  await page.goto(url + "/deployments/" + edited);
  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.waitForURL(url + "/deployments/" + edited);

  at("find, fold, keys");
  await page.getByPlaceholder("find in the package").fill("containerport");
  await page.getByPlaceholder("find in the package").press("Enter");
  assert.ok((await page.locator(".code mark").count()) > 0);
  await page.keyboard.press("Escape");
  await page.evaluate(() => document.activeElement.blur());
  await page.keyboard.press("s");
  await page.waitForURL(url + "/sites");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/sites\/india/);

  at("scrolling");
  await page.goto(url + "/deployments");
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await until("more rows", async () => (await page.locator("tbody tr").count()) > 100);

  at("changes that an event does not name");
  page.quiet = true; // a browser may log that the stream ends
  await page.route(/\/events\?/, (route) => {
    const data = JSON.stringify({ ids: ["not-a-row"], more: 50 });
    return route.fulfill({ contentType: "text/event-stream", body: `event: changed\ndata: ${data}\n\n` });
  }, { times: 1 });
  await page.goto(url + "/deployments");
  await until("a number of changes", async () => (await page.locator("#outside").textContent()) !== "");
  assert.equal(await page.locator("#outside").textContent(), "1 or more changes outside these rows");
  await isLive(page); // the browser has connected again
  page.quiet = false;

  at("filters");
  await page.goto(url + "/deployments");
  await page.keyboard.press("/");
  await page.keyboard.type("--colour red\n");
  assert.match(await page.locator("[role=alert]").textContent(), /expected --id/);

  at("hostile metadata");
  for (const path of ["/sites/lab%2Fhostile", "/sites?q=lab/*", "/deployments?q=--site-id%20lab/*"]) {
    await page.goto(url + path);
    assert.equal(await page.locator("main img, main script").count(), 0);
    await checked(page, path);
  }
  await page.goto(url + "/sites/lab%2Fhostile");
  await shot(page, "hostile-light");
  assert.match(await page.locator("#facts").textContent(), /<script>alert\(1\)<\/script>/);
  assert.match(await page.locator("#facts").textContent(), /\\u\{202e\}/);

  at("rows that change while the page is hidden");
  const many = 150; // more than are asked for at once
  const waitingCount = async () => (await api("GET", "/api/v1/summary")).deployments.waiting;
  const waitingBefore = await waitingCount();
  for (let number = 0; number < many; number += 1) {
    const id = "000" + String(number).padStart(3, "0"); // before all others
    await api("POST", `/api/v1/deployments?id=${id}&template=nf/free5gc/upf:v1.4.0&prepared=true`);
  }
  await until("all are counted", async () => (await waitingCount()) === waitingBefore + many);
  await page.goto(url + "/deployments");
  await isLive(page);
  await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
  await until("more rows than changed", async () => (await page.locator("tbody tr").count()) > many);
  const waitingRows = page.locator('tr[id^="row-000"] .s.waiting');
  assert.equal(await waitingRows.count(), many);
  const hide = (isHidden) => page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { configurable: true, value });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
  const outside = () => page.locator("#outside").textContent();
  await hide(true);
  const before = await outside();
  assert.equal((await api("POST", "/api/v1/deployments:approve?id=000*")).done, many);
  // Events come in order: with this one, the page has those of the rows, too.
  await api("POST", "/api/v1/deployments?template=nf/free5gc/upf:v1.4.0");
  await until("a change outside the rows", async () => (await outside()) !== before);
  assert.equal(await waitingRows.count(), many, "a hidden page asks for no rows");
  page.quiet = true; // the browser logs the request that fails
  let failures = 1;
  await page.route(/\/rows\//, (route) => {
    if (failures === 0) return route.continue();
    failures -= 1;
    return route.abort();
  });
  await hide(false);
  await until("every row is up to date", async () => (await waitingRows.count()) === 0);
  assert.equal(failures, 0);
  await page.unroute(/\/rows\//);
  page.quiet = false;

  at("a restart heals");
  await page.goto(url + "/");
  await isLive(page);
  page.quiet = true; // the browser logs the connections that fail
  other.quiet = true;
  await ask("restart");
  await until("it is live again", async () => (await page.locator("#live.on").count()) > 0);
  const again = await count();
  await api("POST", "/api/v1/deployments?template=nf/free5gc/upf:v1.4.0&site=india/west/edge-0002");
  await until("the count after the restart", async () => (await count()) === again + 1);
  page.quiet = false;

  at("sign in and roles");
  const guest = await watched();
  await guest.goto(closedUrl + "/sites?q=lab/*");
  assert.match(guest.url(), /\/sign-in\?next=/);
  await checked(guest, "sign-in");
  await shot(guest, "sign-in-light");
  await guest.getByLabel("Token").fill("a-wrong-token-of-enough-length");
  await guest.getByRole("button", { name: "Sign in" }).click();
  assert.match(await guest.locator("[role=alert]").textContent(), /not known/);
  await guest.getByLabel("Token").fill(process.env.TKO_VIEWER);
  await guest.getByRole("button", { name: "Sign in" }).click();
  await guest.waitForURL(closedUrl + "/sites?q=lab/*");
  await isLive(guest);
  assert.equal(await guest.evaluate(() => document.cookie), "");
  assert.equal(await guest.locator(".bulk").count(), 0);
  await guest.goto(closedUrl + "/deployments/" + topology);
  assert.equal(await guest.getByRole("button", { name: "Edit" }).count(), 0);
  assert.equal(await guest.getByRole("button", { name: "Retry now" }).count(), 0);
  await guest.getByRole("button", { name: "Sign out" }).click();
  await guest.waitForURL(/\/sign-in/);
  await guest.getByLabel("Token").fill(process.env.TKO_OPERATOR);
  await guest.getByRole("button", { name: "Sign in" }).click();
  await guest.goto(closedUrl + "/deployments/" + topology);
  assert.equal(await guest.getByRole("button", { name: "Edit" }).count(), 1);

  at("a token that is no longer accepted");
  guest.quiet = true; // the browser logs the refusal
  await guest.route(/\/events\?/, async (route) => {
    await guest.context().clearCookies();
    await route.fulfill({ status: 401, contentType: "application/problem+json", body: "{}" });
  });
  await guest.goto(closedUrl + "/sites?q=lab/*", { waitUntil: "commit" });
  await guest.waitForURL(/\/sign-in\?next=/);
  assert.equal(new URL(guest.url()).searchParams.get("next"), "/sites?q=lab/*");
  await guest.unroute(/\/events\?/);

  at("an edit continues after a sign-in elsewhere");
  await guest.getByLabel("Token").fill(process.env.TKO_OPERATOR);
  await guest.getByRole("button", { name: "Sign in" }).click();
  await guest.waitForURL(closedUrl + "/sites?q=lab/*");
  await guest.goto(closedUrl + "/deployments/" + topology);
  await isLive(guest);
  const cookies = await guest.context().cookies();
  await guest.clock.install();
  await guest.route(/\/events\?/, async (route) => {
    await guest.context().clearCookies();
    await route.fulfill({ status: 401, contentType: "application/problem+json", body: "{}" });
  }, { times: 1 });
  await guest.getByRole("button", { name: "Edit" }).click();
  await until("the hint", async () => /in another tab/.test(await guest.locator("#live").textContent()));
  await guest.context().addCookies(cookies);
  await guest.clock.fastForward(30000);
  await isLive(guest);
  await guest.getByRole("button", { name: "Cancel" }).click();
  await guest.waitForURL(closedUrl + "/deployments/" + topology);

  at("pages that do not exist");
  page.quiet = true;
  assert.equal((await page.goto(url + "/nothing/here")).status(), 404);
  assert.equal((await page.goto(url + "/sites/none")).status(), 404);
} catch (error) {
  problems.push(`${step}: ${error.stack ?? error}`);
}
await browser.close();
for (const problem of problems) console.log("problem: " + problem);
process.exit(problems.length ? 1 : 0);
