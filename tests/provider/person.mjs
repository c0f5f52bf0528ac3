// A person with a browser: opens an address, follows where it leads, and fills in every form on the way.
//
//   node person.mjs URL  →  the text of the last page on stdout

const jar = new Map();
let request = [process.argv[2], {}];
for (let steps = 0; steps < 30; steps += 1) {
  const [url, options] = request;
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
  const response = await fetch(url, { ...options, redirect: 'manual', headers: { ...options.headers, cookie } });
  for (const line of response.headers.getSetCookie()) {
    const [name, value] = line.split(';')[0].split(/=(.*)/s);
    jar.set(name, value);
  }
  const location = response.headers.get('location');
  const page = await response.text();
  const form = page.match(/<form[^>]*>[^]*?<\/form>/)?.[0];
  if (location) {
    request = [new URL(location, url), {}];
  } else if (response.ok && form) {
    const fields = new URLSearchParams();
    for (const [input] of form.matchAll(/<(?:input|button)[^>]*>/g)) {
      const of = (name) => input.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1];
      // "Abort" is a button as well.
      if (of('name') && of('name') !== 'abort') fields.set(of('name'), of('value') ?? 'alice');
    }
    if (!fields.has('confirm') && /op\.deviceConfirmForm/.test(form)) fields.set('confirm', 'yes');
    const action = form.match(/action="([^"]*)"/)[1];
    request = [new URL(action, url), {
      method: 'POST',
      body: fields.toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    }];
  } else {
    console.log(page);
    process.exit(response.ok ? 0 : 1);
  }
}
process.exit(1);
