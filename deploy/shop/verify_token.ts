// Verifies Waypost's URL tokens with a shop's exported keys. Node.js, without other packages; types can be stripped.
//
//   waypost keys export --seller s_311 --out shop.json     # on the edge; the file is secret
//   node --experimental-strip-types verify_token.ts --keys shop.json TOKEN...     # exit 1 if one is not valid
//
// In a shop's own server:
//
//   const keys = loadKeys("shop.json");
//   const claims = verifyToken(keys, url.searchParams.get("wp") ?? "", Date.now());
//   claims.verdict                                         // valid, expired, bad_mac, unknown_key, malformed
//
// Verify a token when it arrives, and keep what is returned with the buyer: keys retire. `landed` adds when and by whom.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { argv } from "node:process";
import { pathToFileURL } from "node:url";

const DAY_MS = 86_400_000;
/** A token is valid for 14 days from its click, and if it is dated at most a day ahead. */
const LIFE_MS = 14 * DAY_MS;
const MAX_AHEAD_MS = DAY_MS;
const FORM = /^v1\.([A-Za-z0-9_-]{8})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{22})$/;
const SCOPES = ["domain", "seller", "partner"] as const;
const FLAGS = [[1, "navigation"], [2, "gpc"], [4, "unrecorded"]] as const;

export type Key = { key: Buffer; retiredAtMs: number | null };

export type Claims = {
  kind: "url";
  click_id: string;
  clicked_at_ms: number;
  domain: string;
  code: string;
  audience_kind: string;
  audience: string;
  flags: string[];
};

export type Verdict = { verdict: "malformed" | "unknown_key" | "bad_mac" | "valid" | "expired"; key_id?: string } & Partial<Claims>;

/** Reads the file that `waypost keys export` wrote. */
export function loadKeys(path: string): Map<string, Key> {
  const keys = new Map<string, Key>();
  for (const { id, key, retired_at_ms } of JSON.parse(readFileSync(path, "utf8")).keys) {
    keys.set(id, { key: Buffer.from(key, "base64url"), retiredAtMs: retired_at_ms ?? null });
  }
  return keys;
}

/** Base64url without padding; null if the text is not the one way to write its bytes. */
function decodeBase64url(text: string): Buffer | null {
  const data = Buffer.from(text, "base64url");
  return data.toString("base64url") === text ? data : null;
}

/** The verdict, and the claims if the token is genuine. Never throws for what a buyer sends. */
export function verifyToken(keys: Map<string, Key>, token: string, nowMs: number): Verdict {
  const form = FORM.exec(token);
  if (!form) return { verdict: "malformed" };
  const [, keyId, payloadText, macText] = form;
  const known = keys.get(keyId);
  if (!known || (known.retiredAtMs !== null && nowMs >= known.retiredAtMs + LIFE_MS)) return { verdict: "unknown_key" };
  const payload = decodeBase64url(payloadText);
  const mac = decodeBase64url(macText);
  if (!payload || !mac) return { verdict: "malformed" };
  const expected = createHmac("sha256", known.key).update(payload).digest().subarray(0, 16);
  if (!timingSafeEqual(expected, mac)) return { verdict: "bad_mac" };
  const claims = parsePayload(payload);
  if (!claims) return { verdict: "malformed" };
  const isValid = nowMs < claims.clicked_at_ms + LIFE_MS && claims.clicked_at_ms <= nowMs + MAX_AHEAD_MS;
  return { verdict: isValid ? "valid" : "expired", ...claims, key_id: keyId };
}

/** click id 16 | flags u8 | length u8, domain | length u8, scope's name | code; null if it is none. */
function parsePayload(payload: Buffer): Claims | null {
  if (payload.length < 19) return null;
  const flags = payload[16];
  const scopeAt = 18 + payload[17];
  if (scopeAt >= payload.length) return null;
  const codeAt = scopeAt + 1 + payload[scopeAt];
  const scopeKind = SCOPES[flags >> 6];
  if (codeAt > payload.length || !scopeKind) return null;
  const domain = payload.toString("utf8", 18, scopeAt);
  const id = payload.toString("hex", 0, 16);
  return {
    kind: "url",
    click_id: id.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    clicked_at_ms: payload.readUIntBE(0, 6),
    domain,
    code: payload.toString("utf8", codeAt),
    audience_kind: scopeKind,
    audience: payload.toString("utf8", scopeAt + 1, codeAt) || domain,
    flags: FLAGS.filter(([bit]) => flags & bit).map(([, name]) => name),
  };
}

/** An element of an order's click_tokens: the verified claims, when the token arrived, and the account if known. */
export function landed(claims: Verdict, nowMs: number, account?: string) {
  return { ...claims, landed_at_ms: nowMs, ...(account ? { landed_by: account } : {}) };
}

function main(args: string[]): void {
  const option = (name: string) => (args.includes(name) ? args.splice(args.indexOf(name), 2)[1] : undefined);
  const path = option("--keys");
  const nowMs = Number(option("--now-ms") ?? Date.now());
  if (!path || args.length === 0) {
    console.error("usage: verify_token.ts --keys FILE [--now-ms MS] TOKEN...");
    process.exitCode = 64;
    return;
  }
  const keys = loadKeys(path);
  const verdicts = args.map((token) => verifyToken(keys, token, nowMs));
  for (const verdict of verdicts) console.log(JSON.stringify(verdict));
  process.exitCode = verdicts.some(({ verdict }) => verdict !== "valid") ? 1 : 0;
}

if (argv[1] && import.meta.url === pathToFileURL(argv[1]).href) main(argv.slice(2));
