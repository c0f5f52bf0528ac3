// The schema of the three GraphQL services: a subscription of ticks, and a mutation that says a number.

import { on } from 'node:events';

import { buildSchema } from 'graphql';

export const schema = buildSchema(`
  type Query { said: [Int!]! }
  type Mutation { say(n: Int!): Int! }
  type Subscription { tick: Int! }
`);

export const roots = ({ ticks, ledger }) => ({
  query: { said: () => ledger.said },
  mutation: { say: ({ n }) => ledger.said.push(n) && n },
  subscription: {
    async *tick() {
      for await (const [tick] of on(ticks, 'tick')) yield { tick };
    },
  },
});
