//! What an answer is worth, and what follows from a token that will do.

use std::time::Duration;

use super::{
    Action, FetchFailure, Fetched, Generation, Keeper, LATE, LONGER, LONGEST, Life, Phase, Provenance,
    Report, SPACING, Token, Trigger, wait,
};
use crate::clock::Now;

impl Keeper {
    /// The first token is a client's own: it was not fetched, and is not to be told of.
    pub(super) fn adopt(
        &mut self,
        fetched: &Fetched,
        generation: Generation,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let Phase::Idle = self.phase else { return };
        let lifetime = fetched.life.from(now).map(|life| life.min(LONGEST)).or(self.policy.lifetime);
        let token = Token::new(&fetched.text, generation, now, lifetime);
        self.due_after =
            lifetime.map(|life| wait::until_refresh(life, self.policy.refresh_before, &mut self.rng));
        self.current = Some(token.clone());
        self.rest(now);
        out.push(Action::Publish(token));
    }

    pub(super) fn judge(
        &mut self,
        fetched: &Fetched,
        trigger: Trigger,
        sent: Now,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let issued = sent.earlier(fetched.provenance.age);
        let life = if self.policy.once { Life::Unknown } else { fetched.life };
        let told = life.from(issued).map(|life| life.min(LONGEST));
        let lifetime = told.or(self.policy.lifetime);
        let same = self.current.as_ref().filter(|token| token.expose() == fetched.text.as_str());
        let generation = match (same, &self.current) {
            (Some(token), _) => token.generation,
            (None, Some(token)) => token.generation.next(),
            (None, None) => Generation::default().next(),
        };
        let token = Token::new(&fetched.text, generation, issued, lifetime);
        let wrong = if fetched.text.is_empty() {
            Some("the source gave an empty token")
        } else if self.rejected.has(&fetched.text) {
            Some("the source gave a token again that the service has rejected")
        } else if token.is_expired(now) {
            Some("the source gave a token that has already expired")
        } else {
            None
        };
        if let Some(reason) = wrong {
            return self.fail(FetchFailure::passing(reason), trigger, sent, now, out);
        }
        if let Some(same) = same {
            // An assumed lifetime counts from first sight, so only one that was told can be longer.
            let longer = told.is_some()
                && match (token.remaining(now), same.remaining(now)) {
                    (Some(new), Some(old)) => new > old + LONGER,
                    (Some(_) | None, None) | (None, Some(_)) => false,
                };
            if !longer {
                let generation = same.generation;
                return self.unchanged(generation, trigger, sent, now, out);
            }
        }
        let report = |token: &Token, next_refresh_in| {
            let (generation, expires_in) = (token.generation, token.remaining(now));
            if fetched.provenance.taken_over {
                return Report::TakenOver { generation, expires_in, next_refresh_in };
            }
            let took = now.mono.saturating_duration_since(sent.mono);
            Report::Refreshed { generation, trigger, took, expires_in, next_refresh_in }
        };
        self.publish(token, (lifetime, fetched.provenance), now, report, out);
    }

    /// Takes a token that another process has fetched; what would not do is no failure of anybody here.
    pub(super) fn take_over(&mut self, fetched: &Fetched, now: Now, out: &mut Vec<Action>) {
        let issued = now.earlier(fetched.provenance.age);
        let lifetime = fetched.life.from(issued).map(|life| life.min(LONGEST)).or(self.policy.lifetime);
        let generation = self.current.as_ref().map_or_else(Generation::default, |token| token.generation);
        let token = Token::new(&fetched.text, generation.next(), issued, lifetime);
        let same = self.current.as_ref().is_some_and(|current| current.expose() == token.expose());
        if same || fetched.text.is_empty() || self.rejected.has(&fetched.text) || token.is_expired(now) {
            return;
        }
        let report = |token: &Token, next_refresh_in| Report::TakenOver {
            generation: token.generation,
            expires_in: token.remaining(now),
            next_refresh_in,
        };
        self.publish(token, (lifetime, fetched.provenance), now, report, out);
    }

    /// From now on this is the token; `report` is told when the next fetch is.
    fn publish(
        &mut self,
        mut token: Token,
        (lifetime, provenance): (Option<Duration>, Provenance),
        now: Now,
        report: impl Fn(&Token, Option<Duration>) -> Report,
        out: &mut Vec<Action>,
    ) {
        let due_after =
            lifetime.map(|life| wait::until_refresh(life, self.policy.refresh_before, &mut self.rng));
        token.refresh_ends = provenance.refresh_life.map(|life| token.issued.wall.saturating_add(life));
        let refresh_due = provenance.refresh_life.map(wait::until_refresh_token_ends);
        self.due_after = match provenance.in_doubt {
            true => Some(Duration::ZERO),
            false => [due_after, refresh_due].into_iter().flatten().min(),
        };
        self.recovered();
        self.current = Some(token.clone());
        self.rest(now);
        let next_refresh_in = self.next_fetch().map(|at| at.saturating_duration_since(now.mono));
        let report = Action::Report(report(&token, next_refresh_in));
        // The token goes first: what is reported has happened.
        out.extend([Action::Publish(token), report]);
    }

    /// The source still has the token that is in use.
    fn unchanged(
        &mut self,
        generation: Generation,
        trigger: Trigger,
        sent: Now,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        if self.is_due(now) {
            self.due_after = self.due_after.max(self.look_again_after(now));
        }
        if self.is_due(now) {
            let failure = FetchFailure::passing("the source gave the current token again, which is due");
            return self.fail(failure, trigger, sent, now, out);
        }
        self.recovered();
        self.rest(now);
        let took = now.mono.saturating_duration_since(sent.mono);
        out.push(Action::Report(Report::Unchanged { generation, trigger, took }));
    }

    /// Nothing to do until the token is due, unless the last fetch may have missed a new secret.
    fn rest(&mut self, now: Now) {
        self.next_check = Some(now.mono + self.policy.check_every.max(SPACING));
        self.phase = if std::mem::take(&mut self.again) {
            Phase::Waiting { trigger: Trigger::Operator, until: now.mono + SPACING }
        } else {
            Phase::Resting
        };
    }

    /// From the current token's issue to when it is looked for a newer one again; `None`: the source is late.
    fn look_again_after(&self, now: Now) -> Option<Duration> {
        let token = self.current.as_ref()?;
        let lifetime = token.expires?.saturating_duration_since(token.issued.mono);
        let late = (lifetime / LATE.0).min(LATE.1);
        let left = token.remaining(now)?.checked_sub(late).filter(|left| !left.is_zero())?;
        Some(lifetime.saturating_sub(late).saturating_sub(left.saturating_sub((left / 3).max(SPACING))))
    }
}
