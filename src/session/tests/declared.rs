//! Declared dialects in a session: what the client hears, and what each connection is told.

mod exchanges;
mod hostile;
mod swaps;
mod values;

use std::sync::Arc;

use super::*;
use crate::{
    config::Config,
    dialect::{Dialects, Request},
};

/// A session in a declared dialect, in made-up time.
struct Talk {
    session: Session,
    now: Instant,
    generation: u64,
}

/// A token whose text is its number.
fn numbered(generation: u64, life: u64, now: Instant) -> Token {
    let mut token = Token::new(&format!("T{generation}"), Generation(generation), Now::read(), None);
    token.expires = Some(now + Duration::from_secs(life));
    token
}

impl Talk {
    /// In the dialect `x` with these tables, or in a preset; live, on a token that lives for a minute.
    fn begins(dialect: &str) -> Self {
        Self::begins_with(dialect, "")
    }

    /// The same, with more of the route.
    fn begins_with(dialect: &str, route: &str) -> Self {
        let (name, tables) = if dialect.contains('[') { ("x", dialect) } else { (dialect, "") };
        let config = Config::parse(
            &format!(
                "[[route]]\nupstream = \"ws://h\"\ndialect = \"{name}\"\ntoken = {{ source = \"file\", path = \"/t\" }}\n\
                 handshake = {{ query = \"token\" }}\n{route}\n{tables}"
            ),
            "p",
        )
        .unwrap_or_else(|error| panic!("{error}"));
        let route = Arc::clone(&config.routes[0]);
        let now = clock::now();
        let request = Request::new("/ws?a=1", &http::HeaderMap::new());
        let mut dialect = Dialects::new(Arc::clone(&route), 1 << 20).open(request, now);
        let token = numbered(1, 60, now);
        dialect.handshake(Some(&token)).unwrap();
        let policy = Policy { session: route.session, opening: HOLD, needs: Needs::Token };
        let shown = Shown::from(&token);
        let session = Session::new(dialect, policy, Some(shown), 7, now);
        let mut talk = Self { session, now, generation: 1 };
        talk.tell(Event::Opened(Epoch(1), Some(shown)));
        talk
    }

    fn tell(&mut self, event: Event<'_>) -> Vec<String> {
        let mut out = Vec::new();
        self.session.on_event(event, self.now, &mut out);
        out.iter().filter_map(seen).collect()
    }

    fn client(&mut self, text: &str) -> Vec<String> {
        self.tell(Event::Client(Message { kind: Kind::Text, payload: text.as_bytes() }))
    }

    /// The service says this on one of its connections.
    fn service(&mut self, epoch: u32, text: &str) -> Vec<String> {
        self.tell(Event::Upstream(Epoch(epoch), Message { kind: Kind::Text, payload: text.as_bytes() }))
    }

    fn closes(&mut self, epoch: u32, code: Option<u16>, reason: &str) -> Vec<String> {
        let close = code.map(|code| Close::new(code, reason));
        self.tell(Event::UpstreamClosed(Epoch(epoch), close, "it ended"))
    }

    fn passes(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        self.tell(Event::Timer)
    }

    /// A newer token, and the session's turn to show it.
    fn renewed(&mut self) -> Vec<String> {
        self.generation += 1;
        let token = numbered(self.generation, 60, self.now);
        let mut said = self.tell(Event::Token(&token));
        said.extend(self.passes(Duration::from_secs(15)));
        said.extend(self.tell(Event::Turn(Some(&token))));
        said
    }

    /// The service takes the handshake of this connection, with the newest token.
    fn opened(&mut self, epoch: u32) -> Vec<String> {
        let token = numbered(self.generation, 60, self.now);
        self.session.handshake(Some(&token)).unwrap();
        self.tell(Event::Opened(Epoch(epoch), Some(Shown::from(&token))))
    }

    /// What the handshake asks for.
    fn target(&mut self) -> String {
        let token = numbered(self.generation, 60, self.now);
        self.session.handshake(Some(&token)).unwrap().target
    }
}

/// An action that somebody outside sees.
fn seen(action: &Action) -> Option<String> {
    let text = |payload: &Payload| String::from_utf8_lossy(&payload.bytes).into_owned();
    Some(match action {
        Action::Forward => "forward".to_owned(),
        Action::ToClient(payload) => format!("client {}", text(payload)),
        Action::ToUpstream(epoch, payload) => format!("{} {}", epoch.0, text(payload)),
        Action::Dial(epoch) => format!("dial {}", epoch.0),
        Action::CloseUpstream(epoch, close) => format!("close {} {}", epoch.0, close.code.unwrap_or(1005)),
        Action::CloseClient(close) => format!("close client {} {}", close.code.unwrap_or(1005), close.reason),
        Action::DropClient => "drop client".to_owned(),
        Action::Demand(_) => "demand".to_owned(),
        Action::Fetch(want, rejected) => {
            let rejected = rejected.map(|generation| format!(", not {generation}")).unwrap_or_default();
            format!("fetch {} for {}{rejected}", want.source, want.arg)
        }
        Action::Finished(cause) => format!("finished {cause:?}"),
        Action::Note(Note::ReauthenticationFailed { why, .. }) => format!("failed: {why}"),
        Action::HangUp(_)
        | Action::PingUpstream(..)
        | Action::PingClient(_)
        | Action::Park
        | Action::AskTurn
        | Action::EndTurn
        | Action::Note(_) => return None,
    })
}
