// What a service of these tests writes down, told alike by both of them; read by `Ledger` in mod.rs.
//
//   clients.NAME.work         numbers that came: received, duplicates, outOfOrder, missing
//   clients.NAME.connections  token, opened, and how it ended
//   clients.NAME.refused      handshakes that were turned away, and why
//   tokens, refreshes         what was issued, and what was asked for
//   progress                  the last number that was pushed
//
// Everything is plain data, so that it can be stored as it is. Times are milliseconds since `started`.

export const ledger = () => ({ started: Date.now(), clients: {}, tokens: [], refreshes: [], progress: 0 });

export const at = (book) => Date.now() - book.started;

export function client(book, name) {
  book.clients[name] ??= {
    work: { received: 0, duplicates: 0, outOfOrder: 0, late: 0, next: 0, missing: [] },
    connections: [],
    refused: [],
  };
  return book.clients[name];
}

/// A message of work. A client counts from 0: what it leaves out is missing until it comes, too late.
export function work(book, name, seq) {
  const seen = client(book, name).work;
  seen.received += 1;
  if (seq >= seen.next) {
    for (let n = seen.next; n < seq; n += 1) seen.missing.push(n);
    seen.next = seq + 1;
  } else if (seen.missing.includes(seq)) {
    seen.missing.splice(seen.missing.indexOf(seq), 1);
    seen.outOfOrder += 1;
  } else {
    seen.duplicates += 1;
  }
}

/// A message that came after the service had closed: nobody takes it.
export const late = (book, name) => (client(book, name).work.late += 1);

/// A connection was made; its number among those of its client.
export const opened = (book, name, token) =>
  client(book, name).connections.push({ token, opened: at(book), closed: null }) - 1;

/// A connection ended: by the `client`, by the `service`, or by `loss`. The first word counts.
export function closed(book, name, number, by, code, reason) {
  client(book, name).connections[number].closed ??= { at: at(book), by, code, reason };
}

export function refused(book, name, status, why) {
  client(book, name).refused.push({ at: at(book), status, why });
}

/// A token was asked for with an old one; `token` and `issued` are numbers of tokens, or null.
export function refreshed(book, token, status, outcome, issued) {
  book.refreshes.push({ at: at(book), token, status, outcome, issued });
}
