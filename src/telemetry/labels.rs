//! The label values of metrics: small fixed sets, as enums.
//!
//! `ALL` has every value in the order of the variants, so that a variant is an index into an array of
//! handles made from `ALL`.

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value, in the order of the variants.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// The value as it stands in metrics and logs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

label! {
    /// How a re-authentication came out.
    Outcome {
        /// It worked.
        Ok = "ok",
        /// It could not be done: no answer, or none that could be used.
        Failed = "failed",
        /// It was done, and the other side said no.
        Rejected = "rejected",
    }
}

label! {
    /// Why the service is dialled.
    DialPurpose {
        /// For a client that has just come.
        First = "first",
        /// After the connection was lost.
        Resume = "resume",
        /// For a new token, while the connection lives.
        Swap = "swap",
    }
}

label! {
    /// What a dial of the service came to.
    Dialled {
        /// A WebSocket.
        Ok = "ok",
        /// Nobody is there, the name leads nowhere, or a gateway says so (502, 503, 504).
        Unreachable = "unreachable",
        /// TLS did not come about.
        Tls = "tls",
        /// The service answered with another status, or not as a WebSocket service does.
        Rejected = "rejected",
        /// There was no answer in time.
        Timeout = "timeout",
    }
}

label! {
    /// How a fetch of a token came out.
    Fetched {
        /// It brought one.
        Ok = "ok",
        /// The source gave the current token again, which is not late yet.
        Unchanged = "unchanged",
        /// It could not be done: no answer, or none that could be used.
        Failed = "failed",
        /// It was done, and the source said no.
        Rejected = "rejected",
    }
}

label! {
    /// What became of a client's handshake.
    Handshake {
        /// It has a session.
        Accepted = "accepted",
        /// It did not show the secret of its route.
        Unauthorized = "unauthorized",
        /// Its page is from an origin that is not allowed.
        Origin = "origin",
        /// No route has its path.
        NotFound = "not_found",
        /// It is no handshake, or none that can be served.
        BadRequest = "bad_request",
        /// There are as many as there may be, of all clients or of this one.
        Limit = "limit",
        /// There is no token to serve it with, or its own has ended.
        Token = "token",
        /// The service could not be reached.
        UpstreamUnreachable = "upstream_unreachable",
        /// The service refused it.
        UpstreamRejected = "upstream_rejected",
        /// The service did not answer in time.
        Timeout = "timeout",
        /// The sidecar was about to end.
        Draining = "draining",
        /// The client went away before it was answered.
        ClientGone = "client_gone",
    }
}

label! {
    /// Why a token was fetched.
    Trigger {
        /// Its margin before expiry was reached.
        Schedule = "schedule",
        /// The service asked for a new one.
        Hint = "hint",
        /// It had expired, or was rejected.
        Expiry = "expiry",
        /// A client brought a new one.
        Client = "client",
        /// An operator asked for it, or its secret changed.
        Operator = "operator",
        /// The first one.
        Start = "start",
    }
}

label! {
    /// Which part of a refresh a duration is of.
    Phase {
        /// Fetching the token.
        Fetch = "fetch",
        /// From the injected frame to its reply.
        Exchange = "exchange",
        /// Both together: what a refresh takes on one session, without the wait for its turn.
        Total = "total",
    }
}

label! {
    /// The state of a session.
    SessionState {
        /// The first upstream is being dialled.
        Opening = "opening",
        /// Relaying.
        Live = "live",
        /// Relaying downwards while the new token is exchanged.
        Exchanging = "exchanging",
        /// The upstream is lost, and a new one continues it.
        Resuming = "resuming",
        /// A new upstream takes the place of a live one.
        Swapping = "swapping",
        /// The client went away, and its upstream is kept.
        Parked = "parked",
        /// The last words are on their way.
        Closing = "closing",
    }
}

label! {
    /// Why a session ended.
    CloseReason {
        /// The client closed it, or went away.
        Client = "client",
        /// The service closed it, in its own right.
        Upstream = "upstream",
        /// A token expired and nothing could hide it: the one that must stay 0.
        TokenExpired = "token_expired",
        /// The service was away for longer than `reconnect`.
        Outage = "outage",
        /// The service refused the connection.
        Refused = "refused",
        /// The service would not continue the state of the lost connection.
        Discontinued = "discontinued",
        /// A peer broke the protocol.
        Violation = "violation",
        /// A message was larger than `limits.message`.
        TooBig = "too_big",
        /// A peer did not take what was sent to it in time.
        Slow = "slow",
        /// The process is going away.
        Drain = "drain",
        /// An operator closed it.
        Operator = "operator",
        /// A fault of Perennial's own.
        Internal = "internal",
    }
}

label! {
    /// How a session came to its new token.
    Method {
        /// On the live connection.
        Exchange = "exchange",
        /// By a new connection, made before the old one was broken.
        Swap = "swap",
        /// By a new connection, after the old one was lost.
        Resume = "resume",
    }
}

label! {
    /// The direction of a message.
    Direction {
        /// From the client to the service.
        Up = "up",
        /// From the service to the client.
        Down = "down",
    }
}

label! {
    /// Why a message was, or may have been, lost.
    LossReason {
        /// Sent on a connection that was lost, and not known to have arrived.
        Unacknowledged = "unacknowledged",
        /// Held when the session was given up: the outage was longer than `reconnect`.
        Outage = "outage",
        /// Held when the side it was for had gone.
        PeerGone = "peer_gone",
        /// Held beyond the hard limit of the queue.
        Overflow = "overflow",
        /// Sent by the service while there was no connection, and not to be had again.
        Discontinued = "discontinued",
        /// Sent by a new connection before the old one had ended, where the route discards that.
        Overlap = "overlap",
        /// Held when the process went away.
        Drain = "drain",
    }
}

label! {
    /// The class of an HTTP status.
    CodeClass {
        /// Not an answer yet.
        Informational = "1xx",
        /// It was done.
        Successful = "2xx",
        /// It is elsewhere, or has not changed.
        Redirection = "3xx",
        /// The client's fault.
        ClientError = "4xx",
        /// The service's fault, or Perennial's.
        ServerError = "5xx",
    }
}

label! {
    /// The state of a credential.
    CredentialState {
        /// No token has been had yet.
        Missing = "missing",
        /// The current token is valid.
        Valid = "valid",
        /// The current token is valid, and its refresh is failing.
        Failing = "failing",
        /// The current token has expired.
        Expired = "expired",
    }
}
