//! Grants in Redis: who may ask a source, and what it gave last.
//!
//! ```text
//!   {prefix}:g:<lineage>:lease    fence:holder      for LEASE, unless it is renewed
//!   {prefix}:g:<lineage>:fence    the last fence    counts the leases
//!   {prefix}:g:<lineage>:grant    number, sealed
//! ```
//!
//! 1. Each step is one script, which nothing comes between.
//! 2. Each lease has a fence of its own, one more than the last. What comes with an earlier one is not taken, from
//!    the moment that a later one was given out, whether anything was written under it or not. A lease that merely
//!    ran out, and that nobody followed, still writes.
//! 3. A Redis that forgot everything begins with its clock's microseconds: a number that it had before would let an
//!    earlier holder write. Where it forgot and nobody has come since, the holder goes on: what it was given may
//!    exist nowhere else. The same holds if it forgot only the last lease, as a replica may have that is the primary
//!    since a failover: a fence that is earlier than the holder's is no reason to refuse it.

use std::time::Duration;

use aws_lc_rs::rand;
use redis::{Cmd, Value};

use super::{
    super::{LEASE, StoreError, hex},
    answer,
    connection::Connection,
};
use crate::{clock, credential::history::TokenKey};

/// What nobody went on with for so long is forgotten: four hundred days.
const KEPT: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Gives the lease to nobody else: our fence, or 0 and how long theirs lasts.
const LEASE_SCRIPT: &str = r"
local held = redis.call('GET', KEYS[1])
if held then
  local fence, holder = string.match(held, '^(%d+):(%x+)$')
  if holder == ARGV[1] then return {fence, 0} end
  return {'0', redis.call('PTTL', KEYS[1])}
end
if redis.call('EXISTS', KEYS[2]) == 0 then
  local time = redis.call('TIME')
  redis.call('SET', KEYS[2], time[1] .. string.format('%06d', time[2]))
end
redis.call('INCR', KEYS[2])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local fence = redis.call('GET', KEYS[2])
redis.call('SET', KEYS[1], fence .. ':' .. ARGV[1], 'PX', ARGV[2])
return {fence, 0}
";

/// Lengthens our lease, or takes it again; 0 where another had one since.
const RENEW_SCRIPT: &str = r"
local held = redis.call('GET', KEYS[1])
local last = redis.call('GET', KEYS[2])
if held and held ~= ARGV[1] .. ':' .. ARGV[2] then return 0 end
if last and tonumber(last) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
if last ~= ARGV[1] then redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[4]) end
return 1
";

const RELEASE_SCRIPT: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] .. ':' .. ARGV[2] then redis.call('DEL', KEYS[1]) end
return 1
";

/// Keeps a grant, unless there is a later one; 0 where another had the lease since.
const KEEP_SCRIPT: &str = r"
local last = redis.call('GET', KEYS[1])
if last and tonumber(last) > tonumber(ARGV[1]) then return 0 end
local known = redis.call('HGET', KEYS[2], 'number')
if known and tonumber(known) > tonumber(ARGV[2]) then return 1 end
redis.call('HSET', KEYS[2], 'number', ARGV[2], 'sealed', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
return 1
";

/// Which lease it is.
#[derive(Debug, Clone)]
pub(in crate::credential::store) struct Fence {
    number: u64,
    /// Random, so that no two are the same.
    holder: String,
}

/// Who has it.
pub(in crate::credential::store) enum Answer {
    Ours(Fence),
    Theirs { left: Duration },
}

/// The part of a Redis that is about grants.
pub(super) struct Leases<'c> {
    pub(super) connection: &'c Connection,
    pub(super) prefix: &'c str,
}

impl Leases<'_> {
    pub(super) async fn lease(&self, lineage: &TokenKey) -> Result<Answer, StoreError> {
        if let Some(left) = self.connection.resting(clock::now()) {
            return Ok(Answer::Theirs { left });
        }
        let mut random = [0; 16];
        rand::fill(&mut random).map_err(|_| StoreError::NoRandomBytes)?;
        let holder = hex(&random);
        let mut command = self.script(LEASE_SCRIPT, lineage, &["lease", "fence"]);
        command.arg(&holder).arg(millis(LEASE)).arg(millis(KEPT));
        let values = answer::list(self.ask(&command).await?).ok_or_else(|| self.nonsense())?;
        let [fence, left] = &values[..] else { return Err(self.nonsense()) };
        let number = answer::string(fence).and_then(|fence| std::str::from_utf8(fence).ok()?.parse().ok());
        match (number, answer::integer(left)) {
            (Some(0), Some(left)) => {
                // Less than nothing: it has no end, or has just ended.
                let left = u64::try_from(left).map_or(LEASE, Duration::from_millis);
                Ok(Answer::Theirs { left: left.min(LEASE) })
            }
            (Some(number), Some(_)) => Ok(Answer::Ours(Fence { number, holder })),
            (None, _) | (_, None) => Err(self.nonsense()),
        }
    }

    pub(super) async fn renew(&self, lineage: &TokenKey, fence: &Fence) -> Result<(), StoreError> {
        let mut command = self.script(RENEW_SCRIPT, lineage, &["lease", "fence"]);
        command.arg(fence.number).arg(&fence.holder).arg(millis(LEASE)).arg(millis(KEPT));
        self.done(&command).await
    }

    pub(super) async fn release(&self, lineage: &TokenKey, fence: &Fence) -> Result<(), StoreError> {
        let mut command = self.script(RELEASE_SCRIPT, lineage, &["lease"]);
        command.arg(fence.number).arg(&fence.holder);
        self.done(&command).await
    }

    pub(super) async fn grant(&self, lineage: &TokenKey) -> Result<Option<Vec<u8>>, StoreError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.key(lineage, "grant")).arg("sealed");
        answer::maybe(self.ask(&command).await?).ok_or_else(|| self.nonsense())
    }

    pub(super) async fn keep(
        &self,
        lineage: &TokenKey,
        fence: &Fence,
        number: u64,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        let mut command = self.script(KEEP_SCRIPT, lineage, &["fence", "grant"]);
        command.arg(fence.number).arg(number).arg(sealed).arg(millis(KEPT));
        self.done(&command).await
    }

    async fn done(&self, command: &Cmd) -> Result<(), StoreError> {
        match answer::integer(&self.ask(command).await?) {
            Some(1) => Ok(()),
            Some(0) => Err(StoreError::Overtaken),
            Some(_) | None => Err(self.nonsense()),
        }
    }

    async fn ask(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.connection.ask(command, self.connection.deadline()).await
    }

    fn script(&self, text: &str, lineage: &TokenKey, keys: &[&str]) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(text.trim()).arg(keys.len());
        for key in keys {
            command.arg(self.key(lineage, key));
        }
        command
    }

    /// In braces is what a cluster places keys by.
    fn key(&self, lineage: &TokenKey, what: &str) -> String {
        format!("{{{}}}:g:{}:{what}", self.prefix, hex(&lineage.0))
    }

    fn nonsense(&self) -> StoreError {
        self.connection.nonsense()
    }
}

fn millis(duration: Duration) -> u64 {
    crate::credential::history::millis(duration)
}
