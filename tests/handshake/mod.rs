//! A service that is told of tokens at its handshake only: each rule of the swap, of clients' own tokens and
//! of parking, with the service, the token endpoint and the client played by the test, byte by byte.

mod apart;
mod clients;
mod elsewhere;
mod flood;
mod leaving;
mod oauth2;
mod parking;
mod quiet;
mod readme;
mod refusals;
mod rotating;
mod sources;
mod stage;
mod swap;
mod tickets;
mod values;
