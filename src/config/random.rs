//! What looks random, and so may be a secret that nobody marked as one.
//!
//! Neighbours change between capitals, small letters and digits often: one pair in eight, or two in five if there is no
//! digit. Words, paths and names of classes do so less; an identifier such as a UUID does, and is taken for a secret.

/// What is shorter is not called random.
const SHORTEST: usize = 20;

#[derive(PartialEq)]
enum Class {
    Capital,
    Small,
    Digit,
}

/// Do neighbours change as often as in no word?
pub fn looks_random(text: &str) -> bool {
    let class = |byte: &u8| match byte {
        b'A'..=b'Z' => Some(Class::Capital),
        b'a'..=b'z' => Some(Class::Small),
        b'0'..=b'9' => Some(Class::Digit),
        _ => None,
    };
    let text = text.as_bytes();
    let pairs = text.windows(2).filter_map(|pair| Some((class(&pair[0])?, class(&pair[1])?)));
    let (pairs, changes) =
        pairs.fold((0, 0), |(pairs, changes), (one, next)| (pairs + 1, changes + usize::from(one != next)));
    let digits = text.iter().any(u8::is_ascii_digit);
    let letters = text.iter().any(u8::is_ascii_alphabetic);
    let often = if digits { changes * 8 >= pairs } else { changes * 5 >= pairs * 2 };
    text.len() >= SHORTEST && letters && pairs > 0 && often
}

/// A URL, or its path, as it may be shown: without its query, and without segments that look random.
pub(super) fn masked_url(url: &str) -> String {
    let (place, query) = url.split_once('?').map_or((url, ""), |(place, _)| (place, "?***"));
    let authority = place.find("://").map_or(0, |at| at + "://".len());
    let path = place[authority..].find('/').map_or(place.len(), |at| authority + at);
    let segments = place[path..].split('/').map(|segment| if has_random(segment) { "***" } else { segment });
    format!("{}{}{query}", &place[..path], segments.collect::<Vec<_>>().join("/"))
}

fn has_random(segment: &str) -> bool {
    segment.split(|c: char| !c.is_ascii_alphanumeric() && !"+=_-%~".contains(c)).any(looks_random)
}

#[cfg(test)]
mod tests {
    use super::{looks_random, masked_url};

    #[test]
    fn a_secret_in_a_path_is_not_shown() {
        for (url, shown) in [
            ("https://h/hooks/xoxb7Kq2Lm9Zr4Tw8Yv1Bn5/token", "https://h/hooks/***/token"),
            ("https://h/wJalrXUtnFEMIK7MDENGbPxRfi?a=b", "https://h/***?***"),
            ("https://h:8443/v1.9f86d081884c7d659a2feaa0c55ad015", "https://h:8443/***"),
            ("/t/9f86d081884c7d659a2feaa0c55ad015", "/t/***"),
            ("https://h?key=/9f86d081884c7d659a2feaa0c55ad015", "https://h?***"),
        ] {
            assert_eq!(masked_url(url), shown);
        }
    }

    #[test]
    fn what_an_operator_needs_is_seen() {
        for url in [
            "https://login.example.com/realms/production-eu-west-1/protocol/openid-connect/token",
            "https://x7k2m9q4w8z1v5b3n6p0r.lambda-url.example/oauth2/v2.0/token",
            "https://h/users/{query.user}/{header.x-tenant-identifier}/access_tokens",
            "wss://h",
            "/",
        ] {
            assert_eq!(masked_url(url), url);
        }
    }

    #[test]
    fn most_random_texts_are_found_and_most_words_are_not() {
        let mut rng = fastrand::Rng::with_seed(7);
        let alphabets = [
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
            "0123456789abcdef",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        ];
        for (alphabet, most) in alphabets.into_iter().zip([5, 10, 60]) {
            let letters: Vec<char> = alphabet.chars().collect();
            let mut text = || -> String { (0..32).map(|_| letters[rng.usize(..letters.len())]).collect() };
            let missed = (0..1000).filter(|_| !looks_random(&text())).count();
            assert!(missed <= most, "{missed} of 1000 in {alphabet}");
        }
    }
}
