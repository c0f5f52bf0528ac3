//! An operator practises: what was asked for in words becomes what sessions and credentials are told.

use std::sync::Arc;

use super::state::State;
use crate::{
    admin::{
        Denied,
        done::{Asked, Rehearsed},
    },
    credential::Trigger,
    proxy::{Practice, RouteContext, Tokens},
};

/// What can be practised.
enum Action {
    Refresh,
    Sessions(Practice),
}

/// Of how many sessions.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Amount {
    Count(usize),
    Percent(f64),
}

impl State {
    pub(super) fn practise(
        &self,
        action: &str,
        route: Option<&str>,
        sessions: &str,
    ) -> Result<Rehearsed, Denied> {
        if !self.admin.load().rehearsal {
            return Err(Denied::Forbidden("rehearsal = false in [admin]; change that, and reload".into()));
        }
        let what = match action {
            "refresh" => Action::Refresh,
            "reauthenticate" => Action::Sessions(Practice::Reauthenticate),
            "drop" => Action::Sessions(Practice::Drop),
            "expire" => Action::Sessions(Practice::Expire),
            _ => return Err(Denied::Unknown("an action is refresh, reauthenticate, drop or expire".into())),
        };
        let amount = amount(sessions)?;
        let routes = self.named(route)?;
        let asked: Vec<Asked> = routes.iter().filter_map(|context| ask(&what, amount, context)).collect();
        if asked.is_empty() {
            return Err(Denied::Bad("no route of these has a token".into()));
        }
        let total: usize = asked.iter().map(|one| one.asked).sum();
        tracing::warn!(action, route, sessions, asked = total, "an operator practises");
        Ok(Rehearsed { action: action.to_owned(), routes: merged(asked) })
    }
}

/// Tells one route; `None` where it has no token, which the action is about.
fn ask(what: &Action, amount: Amount, context: &RouteContext) -> Option<Asked> {
    let has_token = !matches!(context.tokens, Tokens::None);
    let mut follow = 0;
    let (asked, of) = match what {
        Action::Sessions(Practice::Drop) => context.sessions.practise(Practice::Drop, |all| amount.of(all)),
        Action::Sessions(practice) if has_token => context.sessions.practise(*practice, |all| amount.of(all)),
        Action::Refresh if has_token => {
            let credentials = match (context.credential(), context.clients()) {
                (Some(credential), _) => vec![Arc::clone(credential)],
                (None, Some(clients)) => clients.credentials(),
                (None, None) => Vec::new(),
            };
            let chosen =
                if context.clients().is_some() { amount.of(credentials.len()) } else { credentials.len() };
            let asked = &credentials[..chosen];
            follow = if context.follows_tokens() {
                context.sessions.on(&asked.iter().map(|one| one.name()).collect())
            } else {
                0
            };
            asked.iter().for_each(|one| one.demand(None, Trigger::Operator));
            (chosen, credentials.len())
        }
        Action::Sessions(_) | Action::Refresh => return None,
    };
    Some(Asked { route: context.route.name.clone(), asked, of, follow })
}

/// A route is one, also where a reload has just replaced it.
fn merged(asked: Vec<Asked>) -> Vec<Asked> {
    asked.into_iter().fold(Vec::new(), |mut all: Vec<Asked>, one| {
        match all.iter_mut().find(|known| known.route == one.route) {
            Some(known) => {
                known.asked += one.asked;
                known.of += one.of;
                known.follow += one.follow;
            }
            None => all.push(one),
        }
        all
    })
}

impl Amount {
    /// A percentage reaches one at the least.
    fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.min(all),
            Self::Percent(percent) => ((all as f64 * percent / 100.0).ceil() as usize).min(all),
        }
    }
}

fn amount(text: &str) -> Result<Amount, Denied> {
    let wrong = || Denied::Bad("sessions is a count, or a percentage such as 10%".into());
    match text.strip_suffix('%') {
        Some(number) => {
            let percent: f64 = number.parse().map_err(|_| wrong())?;
            if percent > 0.0 && percent <= 100.0 { Ok(Amount::Percent(percent)) } else { Err(wrong()) }
        }
        None => match text.parse() {
            Ok(count) if count > 0 => Ok(Amount::Count(count)),
            Ok(_) | Err(_) => Err(wrong()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_count_or_a_part() {
        let of = |text: &str, all| amount(text).ok().map(|amount| amount.of(all));
        assert_eq!(of("3", 40), Some(3));
        assert_eq!(of("50", 40), Some(40));
        assert_eq!(of("10%", 40), Some(4));
        assert_eq!(of("0.1%", 40), Some(1), "one at the least");
        assert_eq!(of("100%", 0), Some(0));
        for wrong in ["", "0", "-1", "0%", "101%", "NaN%", "inf%", "ten", "1.5", "%"] {
            assert!(amount(wrong).is_err(), "{wrong}");
        }
    }
}
