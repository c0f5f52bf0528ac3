//! The URL of a Redis that has sentinels.
//!
//! ```text
//!   redis+sentinel://user:password@host1:26379,host2:26379/MASTER/0?sentinel_user=USER&sentinel_pass=PASSWORD
//!                    └ at the primary ┘ └── the sentinels ──┘     └ database   └── at the sentinels ──┘
//! ```
//!
//! 1. A URL has one host as the parser knows it. So the hosts are taken out of it first, and each is read as the host
//!    of a URL of its own.
//! 2. As Lettuce writes it, with `#MASTER` at the end, the path is the database alone.

use url::Url;

use super::address::{EXPECTED, database, host, parsed, password, user};
use crate::config::{RedisAddress, RedisLogin, RedisPlace, Sentinels};

/// A sentinel's own, with TLS and without.
const PORT: u16 = 26379;

/// The most that are asked, one after the other, within one timeout.
const MOST: usize = 16;

impl RedisAddress {
    pub(super) fn by_sentinels(text: &str, tls: bool) -> Result<Self, String> {
        let (who, hosts, rest) = split(text)?;
        if hosts.split(',').count() > MOST {
            return Err(format!("names more than {MOST} sentinels: remove some"));
        }
        let hosts = hosts.split(',').map(|one| host(&parsed(&format!("redis://{one}"))?, tls, PORT));
        let hosts = hosts.collect::<Result<_, _>>()?;
        let url = parsed(&format!("redis://{who}@host{rest}"))?;
        let (master, number) = named(&url)?;
        let mut login = RedisLogin::default();
        for (name, value) in url.query_pairs() {
            match &*name {
                "sentinel_user" => login.user = user(value),
                "sentinel_pass" => login.password = password(value),
                _ => return Err("the options of sentinels are sentinel_user and sentinel_pass".to_owned()),
            }
        }
        let place = RedisPlace::Sentinels(Sentinels { hosts, master, login });
        Ok(Self { place, login: RedisLogin::of(&url)?, database: database(number)? })
    }
}

/// `user:password`, the hosts, and what comes after them.
fn split(text: &str) -> Result<(&str, &str, &str), String> {
    let (_, text) = text.split_once("://").ok_or(EXPECTED)?;
    let (authority, rest) = text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()));
    let (who, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    Ok((who, hosts, rest))
}

/// The name of the primary, and the text of the database.
fn named(url: &Url) -> Result<(String, &str), String> {
    let path = url.path().strip_prefix('/').unwrap_or_default();
    let (master, number) = match url.fragment() {
        Some(master) => (master, path),
        None => path.split_once('/').unwrap_or((path, "")),
    };
    // What a sentinel takes itself.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if master.is_empty() || !master.bytes().all(plain) {
        return Err("expected the sentinels' name of the primary after the hosts, as in \
            redis+sentinel://host1:26379,host2:26379/mymaster"
            .to_owned());
    }
    Ok((master.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (RedisAddress, Sentinels) {
        let address = RedisAddress::parse(text).unwrap();
        let RedisPlace::Sentinels(sentinels) = address.place.clone() else { panic!("{address:?}") };
        (address, sentinels)
    }

    #[test]
    fn a_url_may_be_of_sentinels() {
        let (few, sentinels) = of("redis+sentinel://h/mymaster");
        assert_eq!((few.place.to_string().as_str(), few.place.is_tls()), ("h:26379/mymaster", false));
        assert!(few.login == RedisLogin::default() && sentinels.login == RedisLogin::default());
        assert_eq!(few.database, 0);
        let (all, sentinels) =
            of("rediss+sentinel://a%40b:CANARY%2Cp%40w@h1:1,[::1],10.0.0.3:65535/my.Master-1_/15\
             ?sentinel_user=c%40d&sentinel_pass=CANARY%3Aw");
        assert_eq!(all.place.to_string(), "h1:1,[::1]:26379,10.0.0.3:65535/my.Master-1_");
        assert!(sentinels.hosts.iter().all(|host| host.tls));
        assert_eq!((all.login.user.as_deref(), all.database), (Some("a@b"), 15));
        assert_eq!(all.login.password.as_deref(), Some("CANARY,p@w"));
        assert_eq!(sentinels.login.user.as_deref(), Some("c@d"));
        assert_eq!(sentinels.login.password.as_deref(), Some("CANARY:w"));
        assert!(!format!("{all:?}").contains("CANARY"));
    }

    #[test]
    fn other_spellings_mean_the_same() {
        let (plain, _) = of("redis+sentinel://:p@h1,h2/m/3");
        for same in [
            "redis-sentinel://:p@h1:26379,h2/m/3",
            "redis-sentinel://:p@h1,h2/3#m",
            "redis+sentinel://:p@h1:,h2:26379/m/3",
        ] {
            assert!(of(same).0 == plain, "{same}");
        }
        assert!(of("rediss-sentinel://h/m").0 == of("rediss+sentinel://h/m").0);
        // Raw, an at sign is a part of the password, and so is a comma.
        assert_eq!(of("redis+sentinel://:a@b,c@h/m").0.login.password.as_deref(), Some("a@b,c"));
        assert_eq!(of("redis+sentinel://h/m/").0.database, 0);
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for wrong in [
            "redis+sentinel:CANARY",
            "redis+sentinel://",
            "redis+sentinel:///CANARY",
            "redis+sentinel://CANARY",
            "redis+sentinel://CANARY/",
            "redis+sentinel://CANARY//0",
            "redis+sentinel://h,,CANARY/m",
            "redis+sentinel://h,/CANARY",
            "redis+sentinel://h1,CANARY b/m",
            "redis+sentinel://h1:0,CANARY/m",
            "redis+sentinel://h1,h2:99999/CANARY",
            "redis+sentinel://h1:CANARY,h2/m",
            "redis+sentinel://CANARY@h/m",
            "redis+sentinel://:%ffCANARY@h/m",
            "redis+sentinel://h/m/CANARY",
            "redis+sentinel://h/m/0/CANARY",
            "redis+sentinel://h/m/-1",
            "redis+sentinel://h/m%41CANARY",
            "redis+sentinel://h/m/0#CANARY",
            "redis-sentinel://h/0#",
            "redis+sentinel://h/m?CANARY=1",
            "redis+sentinel://h/m?sentinel_user=CANARY",
            // The rest of a password that has a slash, a hash or a question mark in it is shown nowhere.
            "redis+sentinel://user:26/CANARY@h/m",
            "redis+sentinel://user:26#CANARY@h/m",
            "redis+sentinel://user:26?CANARY@h/m",
        ] {
            let said = RedisAddress::parse(wrong).expect_err(wrong);
            assert!(!said.contains("CANARY"), "{said}");
        }
        let many = |count| format!("redis+sentinel://{}/m", vec!["h"; count].join(","));
        assert!(RedisAddress::parse(&many(MOST)).is_ok() && RedisAddress::parse(&many(MOST + 1)).is_err());
    }
}
