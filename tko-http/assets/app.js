// Keeps a page live: follows the server's events, and takes the changed parts of the page from the
// server, which renders everything. Without it every page and action works, but is not live.
"use strict";
(() => {
  const scope = document.body.dataset.scope;
  const live = document.getElementById("live");
  const most = 2000; // rows that a list keeps on the page
  const pause = 1000; // between two refreshes, in milliseconds

  // ---- the answer of an action ----------------------------------------------------------------
  // A reload would send the form again, and change what matches by then: it leads to the list.
  const back = location.pathname.startsWith("/apply/") && document.querySelector("main section a.button");
  if (back) history.replaceState(null, "", back.href);

  // ---- ages ---------------------------------------------------------------------------------
  // The server says how far the clock of this computer is off.
  const skew = Number(document.body.dataset.now) - Date.now();
  const age = (at) => {
    const s = Math.max(0, Math.round((Date.now() + skew - at) / 1000));
    if (s < 60) return s + " s";
    if (s < 3600) return Math.floor(s / 60) + " min";
    if (s < 86400) return Math.floor(s / 3600) + " h";
    return Math.floor(s / 86400) + " d";
  };
  const ages = () => {
    for (const time of document.querySelectorAll("time[data-age]")) {
      const text = age(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(ages, 5000);

  // ---- taking over what the server rendered -------------------------------------------------
  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName &&
    (a.nodeType !== 1 || (a.id || "") === (b.id || ""));
  const morph = (from, to) => {
    if (from.nodeType !== 1) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    if (from.isEqualNode(to)) return;
    const isOpen = from.nodeName === "DETAILS" ? from.open : null;
    for (const { name, value } of [...to.attributes]) {
      if (from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
    if (isOpen !== null) from.open = isOpen;
    if (from.nodeName === "INPUT" || from.nodeName === "TEXTAREA") return; // what the user typed
    const wanted = [...to.childNodes];
    let at = from.firstChild;
    for (const node of wanted) {
      let found = at;
      while (found && !same(found, node)) found = found.nextSibling;
      if (found && (node.id || found === at)) {
        while (at !== found) { const next = at.nextSibling; at.remove(); at = next; }
        morph(found, node);
        at = found.nextSibling;
      } else {
        from.insertBefore(document.importNode(node, true), at);
      }
    }
    while (at) { const next = at.nextSibling; at.remove(); at = next; }
  };
  const parse = (html) => new DOMParser().parseFromString(html, "text/html");
  // Pages of a browser that is not signed in lead to the sign-in, and from there back to this page.
  const signedOut = new Error("signed out");
  const signIn = () => {
    // An edit would lose its text. It can be saved after a sign-in elsewhere.
    if (document.querySelector("textarea[data-check]")) state("signed out: sign in in another tab", "off");
    else location.assign("/sign-in?next=" + encodeURIComponent(location.pathname + location.search));
  };
  const fetched = async (url) => {
    const response = await fetch(url, { headers: { accept: "text/html" }, cache: "no-store" });
    if (response.redirected && new URL(response.url).pathname === "/sign-in") { signIn(); throw signedOut; }
    if (!response.ok) throw new Error(String(response.status));
    return parse(await response.text());
  };
  // Failures after which a retry can succeed: of the connection, a proxy, or a busy server.
  const canPass = (error) => error instanceof TypeError || /^50[234]$/.test(error.message);

  // ---- refreshing, at most once a second ------------------------------------------------------
  let last = 0, timer = 0, busy = false, again = false;
  const refresh = async () => {
    timer = 0;
    if (busy) { again = true; return; }
    busy = true;
    last = Date.now();
    try {
      const fresh = await fetched(location.href);
      for (const part of document.querySelectorAll("[data-live]")) {
        const other = fresh.getElementById(part.id);
        if (other) morph(part, other);
      }
      ages();
    } catch (error) {
      // The event stream can stay open meanwhile, and does not repeat its events. Once it has
      // failed, its reconnection refreshes the page.
      if (canPass(error) && !wasOff) setTimeout(soon, 2000);
    }
    busy = false;
    if (again) { again = false; soon(); }
  };
  const soon = () => {
    if (timer || document.hidden) { stale = stale || document.hidden; return; }
    timer = setTimeout(refresh, Math.max(0, last + pause - Date.now()));
  };
  let stale = false;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    if (stale) { stale = false; all(); }
    later(0); // the rows that changed meanwhile
  });

  // ---- lists: rows that changed, in place -----------------------------------------------------
  const list = document.querySelector("table[data-rows]");
  const body = list && list.tBodies[0];
  const outside = document.getElementById("outside");
  const keys = new Set();
  let elsewhere = 0, isAtLeast = false, rowTimer = 0;
  const isWhole = () => body && !document.querySelector("[data-more]") && !grown && body.rows.length < 200;
  let grown = false;
  const later = (wait) => {
    if (keys.size && !rowTimer && !document.hidden) rowTimer = setTimeout(rows, wait);
  };
  const every = () => { for (const row of body.rows) keys.add(row.id.slice(4)); };
  const rows = async () => {
    // As many as the server looks up at once, and as an address has room for.
    const wanted = [];
    let query = "";
    for (const key of keys) {
      const part = "&key=" + encodeURIComponent(key);
      if (wanted.length && (wanted.length >= 100 || query.length + part.length > 8000)) break;
      wanted.push(key);
      query += part;
    }
    // A row that changes from now on is asked for once more.
    for (const key of wanted) keys.delete(key);
    let wait = 300;
    try {
      const fresh = await fetched(list.dataset.rows + query);
      for (const key of wanted) {
        const row = document.getElementById("row-" + key);
        const other = fresh.getElementById("row-" + key);
        if (!row) continue;
        // A row that is gone stays where it is, so that nothing jumps.
        if (other) morphRow(row, other); else row.classList.add("gone");
      }
      ages();
    } catch {
      for (const key of wanted) keys.add(key);
      wait = 2000;
    }
    rowTimer = 0;
    later(wait);
  };
  const morphRow = (row, other) => {
    const box = row.querySelector("input[type=checkbox]");
    const isPicked = box && box.checked;
    morph(row, other);
    const now = row.querySelector("input[type=checkbox]");
    if (now) now.checked = isPicked;
  };
  const changed = (data) => {
    if (!list || isWhole()) { soon(); return; }
    for (const id of data.ids) {
      if (document.getElementById("row-" + id)) keys.add(id); else elsewhere += 1;
    }
    if (data.more) { isAtLeast = true; every(); } // not named: they can be of any rows
    later(300);
    if ((elsewhere || isAtLeast) && outside) {
      const number = elsewhere.toLocaleString("en") + (isAtLeast ? " or more" : "");
      outside.textContent = elsewhere ? number + " changes outside these rows" : "There may be changes outside these rows";
      outside.hidden = false;
    }
  };
  const all = () => {
    if (list && !isWhole()) {
      every();
      later(0);
    } else if (document.querySelector("[data-live]")) {
      last = 0;
      soon();
    }
  };

  // ---- the event stream -----------------------------------------------------------------------
  let wasOff = false;
  const state = (text, name) => { live.textContent = text; live.className = "live " + name; };
  const follow = () => {
    const events = new EventSource("/events?scope=" + encodeURIComponent(scope));
    events.addEventListener("counts", (event) => {
      const data = JSON.parse(event.data);
      state("live · revision " + data.revision.toLocaleString("en"), "on");
      for (const [name, count] of Object.entries(data.counts)) {
        const shown = document.getElementById("n-" + name);
        if (shown && shown.textContent !== count) shown.textContent = count;
      }
      if (wasOff) { wasOff = false; all(); }
      if (data.revision && document.querySelector("[data-counting]")) soon();
    });
    events.addEventListener("changed", (event) => changed(JSON.parse(event.data)));
    events.onerror = () => {
      wasOff = true;
      state("disconnected, reconnecting", "off");
      if (events.readyState === EventSource.CLOSED) refused();
    };
  };
  // A browser gives up after an answer that is not a stream: from a proxy, or because it is signed
  // out. A page of this server tells which, and leads to the sign-in.
  const refused = async () => {
    try {
      await fetched("/about");
    } catch (error) {
      if (error === signedOut) {
        // An edit stays open, and waits for a sign-in elsewhere. The pause is long because the
        // server counts each attempt as a refusal of this address.
        if (text) setTimeout(refused, 30000);
        return;
      }
    }
    setTimeout(follow, 2000);
  };
  if (scope && live) follow();

  // ---- lists: scrolling on, and picking rows ---------------------------------------------------
  const more = () => {
    const link = document.querySelector("[data-more]");
    if (!link || !body) return;
    const watcher = new IntersectionObserver(async (entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watcher.disconnect();
      if (body.rows.length >= most) return; // the link stays, and opens the next page
      try {
        const fresh = await fetched(link.href);
        const others = fresh.querySelector("table[data-rows]").tBodies[0].rows;
        for (const row of [...others]) if (!document.getElementById(row.id)) body.append(document.importNode(row, true));
        grown = true;
        const next = fresh.querySelector("[data-more]");
        if (next) link.href = next.href; else link.remove();
        picked();
        more();
      } catch { /* the link still works */ }
    }, { rootMargin: "400px" });
    watcher.observe(link);
  };
  more();
  const bulk = document.querySelector("[data-bulk]");
  const picked = () => {
    if (!bulk) return;
    const count = body.querySelectorAll("input[type=checkbox]:checked").length;
    const shown = bulk.querySelector(".count");
    shown.textContent = count ? count + " selected" : shown.dataset.none;
  };
  if (list) {
    list.addEventListener("change", (event) => {
      if (event.target.id === "pick-all") {
        for (const box of body.querySelectorAll("input[type=checkbox]")) box.checked = event.target.checked;
      }
      picked();
    });
  }

  // ---- editing: validated while typing ---------------------------------------------------------
  const text = document.querySelector("textarea[data-check]");
  if (text) {
    const problems = document.getElementById("problems");
    let check = 0, number = 0;
    text.addEventListener("input", () => {
      clearTimeout(check);
      check = setTimeout(async () => {
        const mine = ++number;
        const form = new URLSearchParams({ package: text.value });
        const response = await fetch(text.dataset.check, { method: "POST", body: form });
        if (mine === number && response.ok) morph(problems, parse(await response.text()).getElementById("problems"));
      }, 350);
    });
    text.addEventListener("keydown", (event) => {
      // Tab moves on, as everywhere; Escape then Tab is not needed.
      if (event.key === "s" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        text.form.requestSubmit(text.form.querySelector("[value=save]"));
      }
    });
  }

  // ---- keys ------------------------------------------------------------------------------------
  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(target.nodeName) && target.type !== "checkbox";
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = { o: "/", d: "/deployments", s: "/sites", t: "/templates", p: "/plugins", v: "/activity", a: "/about" }[event.key];
    if (page) location.assign(page);
    else if (event.key === "/") {
      const field = document.querySelector("[data-filter]");
      if (field) { event.preventDefault(); field.focus(); field.select(); }
    } else if ((event.key === "j" || event.key === "k") && body) {
      const links = [...body.querySelectorAll("tr > td a[data-row]")];
      const at = links.indexOf(document.activeElement);
      const next = links[at + (event.key === "j" ? 1 : -1)] || links[0];
      if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
    }
  });
})();
