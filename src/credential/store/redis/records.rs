//! The history in Redis: read, drawn up with the pure rules, and written if nothing has changed meanwhile.
//!
//! ```text
//!   {prefix}:t:<key> ──► the records that a change may touch ──► History, Draft (pure) ──► what is to be written
//!          ▲                                                                                      │
//!          └──────────────── all of it, if each is still as it was read; else again ◄─────────────┘
//! ```
//!
//! 1. A record ends in Redis when it is forgotten, by Redis' clock and for as long as the writer's says; its other
//!    times are those of the wall clock, and mean what they say as far as the sidecars' clocks agree.
//! 2. A change reads all that it depends on, and is written only if none of it has changed.
//! 3. A record that this version cannot read is no reason to write over it.

use std::collections::HashMap;

use super::{
    super::{StoreError, hex, row},
    answer,
    connection::Connection,
};
use crate::{
    clock::{Instant, Now},
    credential::history::{Change, Changes, History, Record, State, TokenKey, millis},
};

/// So many are read with one command: what it answers stays well below what the connection takes.
const TOGETHER: usize = 8;

/// So often a change is drawn up again because others were faster.
const ATTEMPTS: usize = 64;

/// The first byte of a record.
const VERSION: u8 = 1;

/// Writes all, if all that was read is as it was; else 0.
const SWAP_SCRIPT: &str = r"
for nth = 1, #KEYS do
  if (redis.call('GET', KEYS[nth]) or '') ~= ARGV[nth] then return 0 end
end
for nth = #KEYS + 1, #ARGV, 3 do
  redis.call('SET', KEYS[tonumber(ARGV[nth])], ARGV[nth + 1], 'PX', ARGV[nth + 2])
end
return 1
";

/// A record as it is in Redis; empty: there is none.
pub(super) type Raw = Vec<u8>;

/// The part of a Redis that is about tokens.
pub(super) struct Records<'c> {
    pub(super) connection: &'c Connection,
    pub(super) prefix: &'c str,
}

impl Records<'_> {
    /// The record of a token, and that of its successor.
    pub(super) async fn standing(
        &self,
        key: &TokenKey,
        now: Now,
        deadline: Instant,
    ) -> Result<HashMap<TokenKey, Raw>, StoreError> {
        let mut known = HashMap::new();
        self.read(&[*key], &mut known, deadline).await?;
        let history = self.history(&known, now)?;
        if let Some(Record { state: State::Superseded(superseded), .. }) = history.record(key) {
            self.read(&[superseded.successor], &mut known, deadline).await?;
        }
        Ok(known)
    }

    /// Makes a change; what is there then of all that it was about.
    pub(super) async fn write(
        &self,
        change: &Change,
        deadline: Instant,
    ) -> Result<HashMap<TokenKey, Raw>, StoreError> {
        for _ in 0..ATTEMPTS {
            let mut known = self.touched(change, deadline).await?;
            let history = self.history(&known, change.now())?;
            let writes = writes(drawn_up(&history, change), &known);
            if writes.is_empty() || self.swap(&known, &writes, deadline).await? {
                known.extend(writes.into_iter().map(|write| (write.key, write.raw)));
                return Ok(known);
            }
        }
        Err(StoreError::Contended { host: self.connection.host().to_owned() })
    }

    /// All that a change may read or write.
    async fn touched(
        &self,
        change: &Change,
        deadline: Instant,
    ) -> Result<HashMap<TokenKey, Raw>, StoreError> {
        let about = match change {
            Change::Superseded(change) => vec![change.old, change.new],
            Change::Seen(seen) => vec![seen.key],
        };
        let mut known = HashMap::new();
        self.read(&about, &mut known, deadline).await?;
        let history = self.history(&known, change.now())?;
        let mut named = Vec::new();
        for record in about.iter().filter_map(|key| history.record(key)) {
            match &record.state {
                State::Current { predecessors, .. } => named.extend(predecessors.iter().copied()),
                State::Superseded(superseded) => named.push(superseded.successor),
                State::Revoked => {}
            }
        }
        named.retain(|key| !known.contains_key(key));
        self.read(&named, &mut known, deadline).await?;
        Ok(known)
    }

    async fn read(
        &self,
        keys: &[TokenKey],
        into: &mut HashMap<TokenKey, Raw>,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        for some in keys.chunks(TOGETHER) {
            let mut command = redis::cmd("MGET");
            some.iter().for_each(|key| {
                command.arg(self.key(key));
            });
            let values = answer::list(self.connection.ask(&command, deadline).await?);
            let values = values.filter(|values| values.len() == some.len());
            for (key, value) in some.iter().zip(values.ok_or_else(|| self.connection.nonsense())?) {
                let raw = answer::maybe(value).ok_or_else(|| self.connection.nonsense())?;
                into.insert(*key, raw.unwrap_or_default());
            }
        }
        Ok(())
    }

    async fn swap(
        &self,
        known: &HashMap<TokenKey, Raw>,
        writes: &[Write],
        deadline: Instant,
    ) -> Result<bool, StoreError> {
        let known: Vec<_> = known.iter().collect();
        let mut command = redis::cmd("EVAL");
        command.arg(SWAP_SCRIPT.trim()).arg(known.len());
        for (key, _) in &known {
            command.arg(self.key(key));
        }
        for (_, raw) in &known {
            command.arg(raw.as_slice());
        }
        for Write { key, raw, lasts } in writes {
            // What is written was read before: `touched` names all that a change may write.
            let Some(place) = known.iter().position(|(known, _)| *known == key) else { continue };
            command.arg(place + 1).arg(raw.as_slice()).arg(*lasts);
        }
        match answer::integer(&self.connection.ask(&command, deadline).await?) {
            Some(1) => Ok(true),
            Some(0) => Ok(false),
            Some(_) | None => Err(self.connection.nonsense()),
        }
    }

    /// A small history of what was read.
    fn history(&self, known: &HashMap<TokenKey, Raw>, now: Now) -> Result<History, StoreError> {
        let mut history = History::new(usize::MAX, now);
        for (key, raw) in known.iter().filter(|(_, raw)| !raw.is_empty()) {
            let record = decoded(raw, &history, now);
            history.load(*key, record.ok_or_else(|| self.connection.unreadable())?, now);
        }
        Ok(history)
    }

    /// In braces is what a cluster places keys by.
    fn key(&self, key: &TokenKey) -> String {
        format!("{{{}}}:t:{}", self.prefix, hex(&key.0))
    }
}

/// One record to be written.
struct Write {
    key: TokenKey,
    raw: Raw,
    /// In milliseconds.
    lasts: u64,
}

fn drawn_up(history: &History, change: &Change) -> Changes {
    let mut draft = history.draft();
    match change {
        Change::Superseded(change) => draft.supersede(change),
        Change::Seen(seen) => draft.seen(seen),
    }
    draft.changes()
}

/// What differs from what is known, and is not over already.
fn writes(changes: Changes, known: &HashMap<TokenKey, Raw>) -> Vec<Write> {
    let wall = millis(Now::read().wall);
    let written = changes.writes.into_iter().filter_map(|(key, record)| {
        let record = record?;
        let (raw, lasts) = (encoded(&record), record.forget.wall.saturating_sub(wall));
        let new = known.get(&key).is_none_or(|known| *known != raw);
        (new && lasts > 0).then_some(Write { key, raw, lasts })
    });
    written.collect()
}

/// A record as it is in Redis: fixed numbers, the keys that it names, and what was sealed.
fn encoded(record: &Record) -> Raw {
    row::written(record, |(kind, forget, generation, until, expires, keys, sealed)| {
        let mut raw = vec![VERSION, kind, u8::from(expires.is_some())];
        for number in [forget, generation, until, expires.unwrap_or_default()] {
            raw.extend_from_slice(&number.to_be_bytes());
        }
        // At most as many as a token has predecessors.
        raw.push(u8::try_from(keys.len() / 32).unwrap_or(u8::MAX));
        raw.extend_from_slice(keys);
        raw.extend_from_slice(sealed);
        raw
    })
}

/// The record; `None` where it is none that this version writes.
pub(super) fn decoded(raw: &[u8], history: &History, now: Now) -> Option<Record> {
    let ([version, kind, ends], raw) = raw.split_first_chunk()?;
    let (numbers, raw) = raw.split_first_chunk::<32>()?;
    let (count, raw) = raw.split_first()?;
    let (keys, sealed) = raw.split_at_checked(usize::from(*count) * 32)?;
    let (numbers, _) = numbers.as_chunks::<8>();
    let [forget, generation, until, expires] = numbers else { return None };
    if *version != VERSION || *ends > 1 {
        return None;
    }
    let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
    let expires = (*ends == 1).then(|| number(expires));
    row::read((*kind, number(forget), number(generation), number(until), expires, keys, sealed), history, now)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::credential::{history::Superseded, token::Generation};

    #[test]
    fn a_record_is_read_as_it_was_written_and_anything_else_is_none() {
        let now = Now::read();
        let history = History::new(usize::MAX, now);
        let at = |seconds: u64| history.told(millis(now.wall) + 1000 * seconds, now);
        let key = TokenKey([7; 32]);
        let superseded = Superseded {
            until: at(5),
            successor: key,
            generation: Generation(2),
            expires_wall: Some(12),
            sealed: (*b"sealed").into(),
        };
        let predecessors: Arc<[TokenKey]> = vec![key; 64].into();
        let current = |expires_wall| {
            let predecessors = Arc::clone(&predecessors);
            State::Current { generation: Generation(u64::MAX), expires_wall, predecessors }
        };
        let states =
            [State::Superseded(Arc::new(superseded)), current(None), current(Some(0)), State::Revoked];
        for state in states {
            let record = Record { forget: at(9), state };
            let raw = encoded(&record);
            let read = decoded(&raw, &history, now).unwrap();
            assert_eq!(format!("{read:?}"), format!("{record:?}"));
            for length in 0..raw.len().min(36) {
                assert!(decoded(&raw[..length], &history, now).is_none(), "cut to {length}");
            }
            assert!(decoded(&[&[2], &raw[1..]].concat(), &history, now).is_none(), "of another version");
        }
    }
}
