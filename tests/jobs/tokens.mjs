// The tokens of one job: a chain in which each new one supersedes those before it.
//
//   issued ──── lifetime ────────────────► expires
//      └── superseded ── grace ──► ends            (superseded again: ends at once)
//
// A token is an opaque name. What is known of it stands in `tokens`, in the order of issue.

export const chain = () => ({ tokens: [], numbers: {} });

/// Issues a token, which supersedes all others: its name and its number.
export function issue(chain, now, { lifetime, grace }) {
  for (const token of chain.tokens) {
    token.superseded += 1;
    token.ends = Math.min(token.ends, token.superseded === 1 ? now + grace : now);
  }
  const name = crypto.randomUUID();
  const number = chain.tokens.push({ issued: now, expires: now + lifetime, ends: now + lifetime, superseded: 0 }) - 1;
  chain.numbers[name] = number;
  return { name, number };
}

/// A token by its name: its number, what is known of it, and what is wrong with it, if anything.
export function find(chain, now, name) {
  const number = Object.hasOwn(chain.numbers, name) ? chain.numbers[name] : null;
  if (number === null) return { number, wrong: 'unknown' };
  const token = chain.tokens[number];
  if (now < token.ends) return { number, token, wrong: null };
  return { number, token, wrong: token.ends < token.expires ? 'revoked' : 'expired' };
}
