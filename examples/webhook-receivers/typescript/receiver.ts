// Receives webhooks: verifies, keeps each event once, answers. Build with tsc; needs the package standardwebhooks.

import { linkSync, openSync, closeSync, fsyncSync, unlinkSync, writeSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const { WEBHOOK_SECRET = "", INBOX = "inbox", PORT = "8000" } = process.env;
const webhook = new Webhook(WEBHOOK_SECRET);
const BODY_BYTES_MAX = 256 * 1024;

/** Keeps an event durably; false where it is there already. */
function keep(id: string, body: string): boolean {
  const partial = join(INBOX, `.${id}.${process.pid}`);
  const file = openSync(partial, "w");
  writeSync(file, body);
  fsyncSync(file);
  closeSync(file);
  try {
    linkSync(partial, join(INBOX, `${id}.json`));
    const folder = openSync(INBOX, "r");
    fsyncSync(folder);
    closeSync(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  } finally {
    unlinkSync(partial);
  }
}

async function read(request: IncomingMessage): Promise<string | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

createServer(async (request, response) => {
  const body = await read(request);
  if (body === undefined) return void response.writeHead(413).end();
  const headers = request.headers as Record<string, string>;
  try {
    webhook.verify(body, headers);
  } catch (error) {
    if (!(error instanceof WebhookVerificationError)) throw error;
    return void response.writeHead(401).end();
  }
  const id = headers["webhook-id"] ?? "";
  // It was signed, and yet no name of ours should lead out of the folder.
  if (!/^\w{1,80}$/.test(id)) return void response.writeHead(400).end();
  const isNew = keep(id, body);
  console.log(`${isNew ? "kept" : "had"} ${id}`);
  response.writeHead(204).end();
}).listen(Number(PORT), "127.0.0.1");
