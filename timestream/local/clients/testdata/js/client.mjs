// SPDX-License-Identifier: Apache-2.0

// The AWS SDK for JavaScript, to be told what to do line by line: each line of the input is {service, operation, input} or
// {statement, rows}, each line of the output {output}, {pages} or {error: {name, message, members}}. The endpoint comes from
// the first argument, or from where the SDK finds it.
import { createInterface } from "node:readline";
import * as query from "@aws-sdk/client-timestream-query";
import * as write from "@aws-sdk/client-timestream-write";

const config = process.argv[2] ? { endpoint: process.argv[2] } : {};
const services = {
  "timestream-query": { commands: query, client: new query.TimestreamQueryClient(config) },
  "timestream-write": { commands: write, client: new write.TimestreamWriteClient(config) },
};

async function handle({ service, operation, input, statement, rows }) {
  if (statement) {
    const pages = [];
    const client = services["timestream-query"].client;
    for await (const page of query.paginateQuery({ client, pageSize: rows }, { QueryString: statement })) {
      pages.push(page);
    }
    return { pages };
  }
  const { commands, client } = services[service];
  if (input.InvocationTime) {
    input.InvocationTime = new Date(input.InvocationTime); // JSON has no times
  }
  return { output: await client.send(new commands[operation + "Command"](input)) };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await handle(JSON.parse(line)).catch((error) => {
    const { name, message, $metadata, ...members } = error;
    // What the service answered has a status; anything else is the SDK's own.
    return { error: { name, message, members, status: $metadata?.httpStatusCode ?? 0 } };
  });
  console.log(JSON.stringify(answer));
}
