#!/usr/bin/env node
// A worker without dependencies: marks its target as prepared. docs/worker-protocol.md has the rules.
//
//     tko plugin register prepare domain "$PWD/worker.js" --executor worker -g example.org,v1,Domain
"use strict";

/** Writes a frame: a line of text, then a body. */
function send(kind, number, body = "") {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  process.stdout.write(Buffer.concat([Buffer.from(`${kind} ${number} ${bytes.length}\n`), bytes]));
}

/** Answers a call: the resources with the target marked, or an error. */
function prepare(call) {
  const target = call.targetResourceIdentifier;
  for (const resource of call.deploymentPackage) {
    const { name, namespace, annotations } = resource.metadata;
    if (resource.kind === target.kind && name === target.name && namespace === target.namespace) {
      resource.metadata.annotations = { ...annotations, "nephio.org/prepared": "true" };
    }
  }
  return { prepared: true, package: call.deploymentPackage };
}

const handlers = {
  hello: () => send("hello", 0, { protocol: 1, name: "worker.js", types: ["prepare"], inFlight: 16 }),
  call: (number, body) => send("answer", number, prepare(JSON.parse(body))),
  ping: (number) => send("pong", number),
  stop: () => process.stdin.destroy(),
};

let input = Buffer.alloc(0);
process.stdin.on("data", (chunk) => {
  input = Buffer.concat([input, chunk]);
  for (let end = input.indexOf("\n"); end >= 0; end = input.indexOf("\n")) {
    const [kind, number, length] = input.toString("ascii", 0, end).split(" ");
    const next = end + 1 + Number(length);
    if (input.length < next) return;
    handlers[kind]?.(Number(number), input.toString("utf8", end + 1, next));
    input = input.subarray(next);
  }
});
