//! No two sources that ask for another thing have the same name: each part of what is asked for is told apart.

use proptest::prelude::*;

use super::Source;
use crate::{config::Config, net::Egress};

/// Parts that are easily taken for one another, if nothing keeps them apart.
fn word() -> impl Strategy<Value = String> {
    proptest::sample::select(vec!["", "a", "b", "ab", "ba", "a-b", "aa"]).prop_map(str::to_owned)
}

fn token(kind: u8, words: &[String]) -> String {
    let [a, b, c, d, e] = words else { unreachable!("five words") };
    match kind {
        0 => format!(
            "source = \"http\"\nurl = \"http://h{a}.test/t{b}?x={c}\"\nheaders = {{ x-one = \"{d}\", x-two = \"{e}\" }}"
        ),
        1 => format!(
            "source = \"http\"\nurl = \"http://h/t{a}\"\nform = {{ u = \"{b}\", v = \"{c}\" }}\nexchange = \"http://e{d}.test/{e}\""
        ),
        2 => {
            let method = if d.len() == 1 { "PUT" } else { "PATCH" };
            format!(
                "source = \"http\"\nurl = \"http://h/\"\nmethod = \"{method}\"\nbody = \"x{a}\"\nheaders = {{ y = \"{b}{c}\", z = \"{e}\" }}"
            )
        }
        3 => format!(
            "source = \"oauth2\"\ntoken_url = \"http://h{a}.test/\"\nclient_id = \"c{b}\"\nscope = [\"s{c}\", \"s{d}\"]\naudience = \"u{e}\""
        ),
        4 => format!(
            "source = \"oauth2\"\nissuer = \"http://h{a}.test\"\nclient_id = \"c{b}\"\nclient_secret = \"x{c}\"\nparameters = {{ p{d} = \"{e}\" }}"
        ),
        _ => format!(
            "source = \"exec\"\ncommand = [\"p{a}\", \"{b}\", \"{c}\"]\nenv = {{ V = \"x{d}\" }}\ndirectory = \"/d{e}\""
        ),
    }
}

fn named(lines: &str) -> Vec<u8> {
    let text = format!("[[route]]\nupstream = \"ws://h\"\ndialect = \"ably\"\n[route.token]\n{lines}");
    let config = Config::parse(&text, "t").unwrap_or_else(|error| panic!("{error}\n{lines}"));
    let source = Source::new(&config.routes[0].token.as_ref().unwrap().source, &Egress::default()).unwrap();
    futures_util::FutureExt::now_or_never(source.asked_with()).flatten().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn sources_that_differ_have_different_names(
        (kind, words) in (0_u8..6, proptest::collection::vec(word(), 5)),
        (at, instead) in (0_usize..5, word()),
        swapped in any::<bool>(),
    ) {
        // In one part only, or two parts that change places.
        let mut changed = words.clone();
        if swapped {
            changed.swap(at, (at + 1) % 5);
        } else {
            changed[at] = instead;
        }
        let (one, other) = (token(kind, &words), token(kind, &changed));
        prop_assert_eq!(one == other, named(&one) == named(&other), "{}\n---\n{}", one, other);
    }
}

#[test]
fn the_same_address_in_another_spelling_is_the_same() {
    let at = |url: &str| named(&format!("source = \"oauth2\"\ntoken_url = \"{url}\"\nclient_id = \"c\""));
    assert_eq!(at("http://auth.test/token"), at("http://AUTH.test:80/./token"));
    assert_ne!(at("http://auth.test/token"), at("http://auth.test/token/"));
    assert_ne!(at("http://auth.test/token"), at("https://auth.test:80/token"));
}

#[test]
fn two_that_show_different_certificates_are_two() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    let source = |rest: &str, name: &str| {
        let (certificate, key) = (path(name), path("key"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        named(&format!("{rest}\n[route.token.tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\""))
    };
    for rest in [
        "source = \"http\"\nurl = \"https://auth.test/\"",
        "source = \"oauth2\"\ntoken_url = \"https://auth.test/\"\nclient_id = \"c\"",
    ] {
        assert_eq!(source(rest, "a"), source(rest, "a"), "{rest}");
        assert_ne!(source(rest, "a"), source(rest, "b"), "{rest}");
    }
}
