//! The two ends: a client and a service that number what they say.

use super::*;

impl World {
    pub(super) fn client_says(&mut self, number: u64) {
        if self.session.passes(Direction::Up) {
            self.session.passed(Direction::Up, 1);
            return self.send_up(self.upstream.unwrap(), Said::Number(number));
        }
        let text = number.to_string();
        let message = Message { kind: Kind::Text, payload: text.as_bytes() };
        self.tell(Event::Client(message), Some((Direction::Up, number)));
    }

    pub(super) fn sidecar_hears(&mut self, id: u32, said: Said) {
        let connection = &self.connections[&id];
        if connection.cut || ![self.upstream, self.next].contains(&Some(id)) {
            return;
        }
        let epoch = connection.epoch;
        match said {
            Said::Number(number) if self.upstream == Some(id) && self.session.passes(Direction::Down) => {
                self.session.passed(Direction::Down, 1);
                self.show(number);
            }
            Said::Number(number) => {
                let text = number.to_string();
                let message = Message { kind: Kind::Text, payload: text.as_bytes() };
                self.tell(Event::Upstream(epoch, message), Some((Direction::Down, number)));
            }
            Said::Ping(messages) => self.tell(Event::UpstreamRead(epoch, messages), None),
            Said::Close(code) => {
                self.tell(Event::UpstreamClosed(epoch, Some(Close::new(code, "")), "closed"), None);
            }
        }
    }

    pub(super) fn show(&mut self, number: u64) {
        assert!(self.here, "{:?}: said to a client that is away", self.weather);
        self.got.push(number);
    }

    pub(super) fn service_hears(&mut self, id: u32, said: Said) {
        let mute = self.weather.storm && !self.calm && self.random.u8(..100) < 10;
        let connection = self.connections.get_mut(&id).unwrap();
        if connection.cut || !connection.open {
            return;
        }
        match said {
            Said::Number(number) => self.heard.push(number),
            // One service in four answers no Ping either.
            Said::Ping(_) if self.weather.seed % 4 == 1 => {}
            Said::Ping(messages) => self.send_down(id, Said::Ping(messages)),
            Said::Close(_) => {
                connection.open = false;
                if self.newest == Some(id) {
                    self.newest = None;
                }
                if !mute {
                    self.send_down(id, Said::Close(1000));
                }
            }
        }
    }

    pub(super) fn service_says(&mut self) {
        let open: Vec<u32> =
            self.connections.iter().filter(|(_, c)| c.open && !c.cut).map(|(id, _)| *id).collect();
        let to: Vec<u32> = if self.weather.to_all {
            open
        } else {
            open.into_iter().filter(|id| self.newest == Some(*id)).collect()
        };
        if to.is_empty() {
            return;
        }
        self.pushed += 1;
        for id in to {
            self.send_down(id, Said::Number(self.pushed));
        }
    }

    pub(super) fn cut(&mut self, id: u32) {
        let connection = self.connections.get_mut(&id).unwrap();
        (connection.cut, connection.open) = (true, false);
        let epoch = connection.epoch;
        if self.newest == Some(id) {
            self.newest = None;
        }
        self.tell(Event::UpstreamClosed(epoch, None, "cut"), None);
    }

    pub(super) fn fresh(&mut self, epoch: Epoch) -> u32 {
        let id = self.connections.len() as u32;
        self.connections.insert(id, Connection { epoch, shown: self.shown(), ..Connection::default() });
        id
    }

    pub(super) fn let_in(&mut self, id: u32) {
        self.connections.get_mut(&id).unwrap().open = true;
        self.newest = Some(id);
    }

    pub(super) fn dialled(&mut self, id: u32) {
        if self.dial != Some(id) {
            return;
        }
        self.dial = None;
        let Connection { epoch, shown, .. } = self.connections[&id];
        let fate = self.random.u8(..100);
        if self.weather.storm && !self.calm && fate < 30 {
            // A fresh token is taken after one that was refused: a second refusal would be a verdict.
            let failure = if fate < 10 && shown.generation.0 > self.refused + 4 {
                self.refused = shown.generation.0;
                DialFailure::Token(shown.generation, 401)
            } else {
                let retry_after = (fate < 12).then_some(Duration::from_secs(1));
                DialFailure::Passing { why: "not now".into(), retry_after }
            };
            self.connections.get_mut(&id).unwrap().cut = true;
            return self.tell(Event::DialFailed(epoch, failure), None);
        }
        self.let_in(id);
        if self.upstream.is_some() {
            self.next = Some(id);
        } else {
            self.upstream = Some(id);
        }
        self.tell(Event::Opened(epoch, Some(shown)), None);
    }
}
