// The client of graphql-ws 6, with the header that Hasura reads in `connectionParams`.

import { connect } from '../lib/graphql-ws.mjs';

export default (url, token) => connect(`${url}/v1`, { headers: { Authorization: `Bearer ${token}` } });
