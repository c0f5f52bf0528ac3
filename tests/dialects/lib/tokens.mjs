// Tokens that end soon: JWTs, signed with a secret that only the service knows, each different.

import { createHmac, randomBytes } from 'node:crypto';

export const LIFETIME = Number(process.env.TTL ?? 4);

// What the way to the client may take: `expires_in` is never more than what is left.
const SLACK = 0.1;

/// For a service that is another process.
export const secret = randomBytes(32).toString('hex');
const base64url = (text) => Buffer.from(text).toString('base64url');
const sign = (text) => createHmac('sha256', secret).update(text).digest('base64url');

let issued = 0;

export function mint() {
  const now = Date.now() / 1000;
  const exp = Math.round((now + LIFETIME + SLACK) * 1000) / 1000;
  const claims = { sub: 'user', role: 'authenticated', jti: String(++issued), iat: Math.floor(now), exp };
  const body = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(JSON.stringify(claims))}`;
  return `${body}.${sign(body)}`;
}

/// The claims of a token, or null where it is none of ours. It may have ended.
export function claims(token) {
  const [header, payload, signature] = String(token).split('.');
  if (signature !== sign(`${header}.${payload}`)) return null;
  return JSON.parse(Buffer.from(payload, 'base64url'));
}

/// What is left of a token, in milliseconds; 0 or less when it has ended.
export const left = ({ exp }) => exp * 1000 - Date.now();
