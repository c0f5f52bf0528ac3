// The npm package `oidc-provider`: refresh tokens are rotated, and the reuse of one ends its whole grant.
//
//   POST /token          the provider's own
//   GET  /.well-known/…  the same
//   POST /seed           a first refresh token, for a user that would have logged in with a browser
//   GET  /ledger         what it saw: {granted, refused, revoked}
//
//   node provider.mjs '{"TTL":2,"JWKS":{…},"PORT":0}'  →  {"port":…} on stdout; ends when standard input does
//
// TTL: of an access token, in whole seconds. JWKS: public keys of the client that proves itself with one.

import { createServer } from 'node:http';

import { Provider } from 'oidc-provider';

const { TTL, JWKS, PORT } = JSON.parse(process.argv[2]);
const RESOURCE = 'urn:perennial:service';

const server = createServer();
await new Promise((resolve) => server.listen(PORT, '127.0.0.1', resolve));
const { port } = server.address();

const plain = { redirect_uris: [], response_types: [] };
const secret = { ...plain, client_secret: 'the client: its secret+', grant_types: ['client_credentials', 'refresh_token'] };
const clients = [
  { ...secret, client_id: 'basic', token_endpoint_auth_method: 'client_secret_basic' },
  { ...secret, client_id: 'post', token_endpoint_auth_method: 'client_secret_post' },
];
// A person logs in by it: in a browser that comes back to any port of this machine, or with a device code.
clients.push({
  ...secret,
  client_id: 'native',
  application_type: 'native',
  redirect_uris: ['http://127.0.0.1/callback'],
  response_types: ['code'],
  grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
  token_endpoint_auth_method: 'client_secret_basic',
});
if (JWKS) {
  clients.push({
    ...plain,
    client_id: 'prover',
    grant_types: ['client_credentials', 'refresh_token'],
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: 'ES256',
    jwks: JWKS,
  });
}

const ledger = { granted: 0, refused: [], revoked: 0 };
const server_of = () => ({ scope: 'ws', audience: RESOURCE, accessTokenTTL: TTL, accessTokenFormat: 'jwt' });
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients,
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      getResourceServerInfo: server_of,
      useGrantedResource: () => true,
    },
  },
  scopes: ['openid', 'offline_access', 'ws'],
  rotateRefreshToken: () => true,
  ttl: { AccessToken: TTL, ClientCredentials: TTL, RefreshToken: 86400, Grant: 86400, IdToken: 3600 },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
provider.on('grant.success', () => { ledger.granted += 1; });
provider.on('grant.error', (_, error) => ledger.refused.push(error.error));
provider.on('grant.revoked', () => { ledger.revoked += 1; });
provider.on('server_error', (_, error) => console.error(error));

async function seed(clientId) {
  const client = await provider.Client.find(clientId);
  const grant = new provider.Grant({ accountId: 'alice', clientId });
  grant.addOIDCScope('openid offline_access');
  grant.addResourceScope(RESOURCE, 'ws');
  const token = new provider.RefreshToken({
    accountId: 'alice',
    client,
    grantId: await grant.save(),
    gty: 'authorization_code',
    scope: 'openid offline_access ws',
    resource: RESOURCE,
    claims: {},
    iiat: Math.floor(Date.now() / 1000),
    rotations: 0,
  });
  return token.save();
}

const callback = provider.callback();
server.on('request', async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const answer = (body) => response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  if (pathname === '/ledger') return answer(ledger);
  if (pathname === '/seed') return answer({ refresh_token: await seed(searchParams.get('client')) });
  return callback(request, response);
});

console.log(JSON.stringify({ port }));
// Nobody reads the provider's notices, which go there as well.
process.stdout.on('error', () => {});
process.stdin.resume().on('end', () => process.exit(0));
