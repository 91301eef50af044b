// Whether a delivery's signature fits, checked here: the secret leaves neither the page nor this machine.
import { useState } from "preact/hooks";
import { moment } from "../format";
import { Card, Field, Form, Notice } from "./parts";

/** Receivers refuse what is older; so says Standard Webhooks. */
const AGE_S_MAX = 300;

interface Finding {
  good: boolean;
  says: string;
}

export function Signatures() {
  const [findings, set] = useState<Finding[]>([]);
  return (
    <Card title="Signature debugger" aside={<span>computed in your browser; nothing is sent</span>}>
      <Form submit="Check" tone="" act={async (fields) => set(await check(fields))}>
        <div class="grid">
          <div class="half"><Field label="Secret" hint="whsec_…"><input name="secret" autocomplete="off" spellcheck={false} required /></Field></div>
          <div class="half"><Field label="webhook-id"><input name="id" autocomplete="off" spellcheck={false} required /></Field></div>
          <div class="half"><Field label="webhook-timestamp" hint="seconds"><input name="timestamp" inputMode="numeric" autocomplete="off" required /></Field></div>
          <div class="half"><Field label="webhook-signature" hint="v1,… and perhaps more, with spaces between"><input name="signature" autocomplete="off" spellcheck={false} required /></Field></div>
        </div>
        <Field label="Body, exactly as it came"><textarea name="body" spellcheck={false} required /></Field>
      </Form>
      {findings.length > 0 && <div role="status">{findings.map((finding) => <Notice key={finding.says} tone={finding.good ? "good" : "bad"}>{finding.says}</Notice>)}</div>}
    </Card>
  );
}

export async function check({ secret = "", id = "", timestamp = "", signature = "", body = "" }: Record<string, string>): Promise<Finding[]> {
  const key = decoded(secret.trim().replace(/^whsec_/, ""));
  if (!key) return [{ good: false, says: "The secret is no base64 after whsec_: copy it whole." }];
  // A form turns line ends into CR LF; what was signed has none.
  const text = body.replace(/\r\n/g, "\n");
  const expected = await sign(key, `${id.trim()}.${timestamp.trim()}.${text}`);
  const given = signature.trim().split(/\s+/);
  const findings: Finding[] = [];
  if (given.includes(`v1,${expected}`)) findings.push({ good: true, says: "The signature fits." });
  else if (given.includes(`v1,${await sign(key, `${id.trim()}.${timestamp.trim()}.${text.trimEnd()}`)}`)) {
    findings.push({ good: false, says: "It fits without the white space at the end: the body was changed on its way here." });
  } else {
    const parsed = json(text);
    const minimal = parsed === undefined ? "" : JSON.stringify(parsed);
    if (minimal && given.includes(`v1,${await sign(key, `${id.trim()}.${timestamp.trim()}.${minimal}`)}`)) {
      findings.push({ good: false, says: "It fits the same JSON written without spaces: verify the raw body, before anything parses it." });
    } else findings.push({ good: false, says: "No signature fits: another secret, id, timestamp or body was signed." });
  }
  if (!given.every((one) => one.startsWith("v1,"))) findings.push({ good: false, says: "A signature begins with v1, and a comma." });
  const at = Number(timestamp) * 1000;
  if (Number.isNaN(at) || at <= 0) findings.push({ good: false, says: "The timestamp is no number of seconds." });
  else if (Math.abs(Date.now() - at) > AGE_S_MAX * 1000) findings.push({ good: false, says: `It was signed ${moment(new Date(at))}: receivers refuse what is more than five minutes old.` });
  return findings;
}

async function sign(key: Uint8Array<ArrayBuffer>, text: string): Promise<string> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const bytes = new Uint8Array(await crypto.subtle.sign("HMAC", imported, new TextEncoder().encode(text)));
  return btoa(String.fromCharCode(...bytes));
}

function decoded(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
