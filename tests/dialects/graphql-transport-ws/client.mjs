// The client of graphql-ws 6, with the token in `connectionParams`.

import { connect } from '../lib/graphql-ws.mjs';

export default (url, token) => connect(url, { token });
