// node node_http.js PORT: the same answers from the http module of Node, in memory.
"use strict";
const http = require("node:http");
const values = new Map();

function answer(response, status, fields) {
  const content = JSON.stringify(fields);
  response.writeHead(status, {"Content-Type": "application/json", "Content-Length": Buffer.byteLength(content)});
  response.end(content);
}

http.createServer((request, response) => {
  const key = decodeURIComponent(request.url.slice("/kvs/".length));
  if (request.method === "GET") {
    if (values.has(key)) {
      answer(response, 200, {result: "found", value: values.get(key), "causal-metadata": null, "shard-id": "s0"});
    } else {
      answer(response, 404, {error: "Key does not exist"});
    }
    return;
  }
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = JSON.parse(Buffer.concat(parts).toString());
    const created = !values.has(key);
    values.set(key, body.value);
    answer(response, created ? 201 : 200,
           {result: created ? "created" : "replaced", "causal-metadata": body["causal-metadata"], "shard-id": "s0"});
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
