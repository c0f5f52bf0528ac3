//! A record as the database has it.
//!
//! Times are those of the wall clock, in milliseconds: nothing else means anything to the next process.

use std::sync::Arc;

use redb::TableDefinition;

use crate::{
    clock::Now,
    credential::{
        history::{History, Record, State, Superseded, TokenKey},
        token::Generation,
    },
};

/// What kind it is, when it is forgotten, the generation, when grace ends, when it or its successor
/// ends, the keys of
/// successor or predecessors one after another, what was sealed.
pub(super) type Row = (u8, u64, u64, u64, Option<u64>, &'static [u8], &'static [u8]);
type Value<'v> = (u8, u64, u64, u64, Option<u64>, &'v [u8], &'v [u8]);

pub(super) const ROWS: TableDefinition<'static, [u8; 32], Row> = TableDefinition::new("tokens");

const CURRENT: u8 = 0;
const SUPERSEDED: u8 = 1;
const REVOKED: u8 = 2;

/// Hands the row of a record to `write`.
pub(super) fn written<T>(record: &Record, write: impl FnOnce(Value<'_>) -> T) -> T {
    let forget = record.forget.wall;
    match &record.state {
        State::Current { generation, expires_wall, predecessors } => {
            let keys: Vec<u8> = predecessors.iter().flat_map(|key| key.0).collect();
            write((CURRENT, forget, generation.0, 0, *expires_wall, &keys, &[]))
        }
        State::Superseded(by) => {
            let Superseded { until, successor, generation, expires_wall, sealed } = &**by;
            write((SUPERSEDED, forget, generation.0, until.wall, *expires_wall, &successor.0, sealed))
        }
        State::Revoked => write((REVOKED, forget, 0, 0, None, &[], &[])),
    }
}

/// The record of a row; `None` where it is none that was ever written.
pub(super) fn read(row: Value<'_>, history: &History, now: Now) -> Option<Record> {
    let (kind, forget, generation, until, expires_wall, keys, sealed) = row;
    let generation = Generation(generation);
    let state = match kind {
        CURRENT => {
            let (keys, rest) = keys.as_chunks::<32>();
            if !rest.is_empty() {
                return None;
            }
            let predecessors = keys.iter().copied().map(TokenKey).collect();
            State::Current { generation, expires_wall, predecessors }
        }
        SUPERSEDED => {
            let (until, successor) = (history.told(until, now), TokenKey(keys.try_into().ok()?));
            let sealed = sealed.into();
            State::Superseded(Arc::new(Superseded { until, successor, generation, expires_wall, sealed }))
        }
        REVOKED => State::Revoked,
        _ => return None,
    };
    Some(Record { forget: history.told(forget, now), state })
}
