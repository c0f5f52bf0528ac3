// What all clients of these tests tell, one JSON object a line.
//
//   {"tick":n}            a number of the service reached the application
//   {"also":n}            … on a second subscription
//   {"opened":k}          something new was opened with the same token, and works
//   {"event":"…"}         anything else that an application sees of its connection
//   {"said":n}            the application said its n-th number
//   {"answered":n}        … and the library gave it the answer
//   {"unanswered":n,why}  … or told that there is none

let leaving = false;

const print = (line) => leaving || process.stdout.write(`${JSON.stringify(line)}\n`);

/// From now on nothing is told: what follows is the client's own doing.
export const leave = () => (leaving = true);

// Of an Error, a close event, or an answer of a service: what an application would write to its log.
export function words(thing) {
  if (thing == null || typeof thing !== 'object') return String(thing ?? '');
  if (typeof thing?.message === 'string') return thing.message;
  if (typeof thing?.code === 'number') return `closed ${thing.code} ${thing.reason ?? ''}`.trimEnd();
  return JSON.stringify(thing);
}

export const tick = (n) => print({ tick: n });

export const also = (n) => print({ also: n });

export const opened = (k) => print({ opened: k });

export const event = (...parts) => print({ event: parts.map(words).filter(Boolean).join(' ') });

/// Says a number each second, from now on. `send` resolves with the answer.
export function talk(send) {
  let n = 0;
  const timer = setInterval(async () => {
    const said = ++n;
    print({ said });
    try {
      await send(said);
      print({ answered: said });
    } catch (error) {
      print({ unanswered: said, why: words(error) });
    }
  }, 1000);
  return () => clearInterval(timer);
}

/// Opens something new every five seconds, from now on.
export function again(open) {
  const timer = setInterval(open, 5000);
  return () => clearInterval(timer);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
