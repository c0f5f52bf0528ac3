//! No value of a template breaks out of the place it is put in.
//!
//! Each property was seen to fail with the escape of its place taken out.

use proptest::{collection::vec, prelude::*, sample::select};

use crate::config::{ExpandError, Place, Template};

fn expand(template: &str, place: Place, value: &str) -> Result<String, ExpandError> {
    Template::parse(template).expand(place, &|_| Some(value))
}

/// Any characters, and often those that mean something somewhere.
fn text() -> impl Strategy<Value = String> {
    let special = select("\r\n\t\0 \"\\'{}[]()<>:;,./?#&=%+@".chars().collect::<Vec<_>>());
    let any = vec(prop_oneof![any::<char>(), special], 0..12).prop_map(|chars| chars.into_iter().collect());
    prop_oneof![9 => any, 1 => select(vec![".".to_owned(), "..".to_owned()])]
}

proptest! {
    #[test]
    fn a_url_keeps_its_shape(value in text()) {
        let Ok(text) = expand("https://h/a/{token}/b?q={token}&r=1#f", Place::Url, &value) else {
            prop_assert!([".", ".."].contains(&value.as_str()), "only a dot segment is refused");
            return Ok(());
        };
        let url = url::Url::parse(&text).unwrap();
        let segments: Vec<_> = url.path_segments().unwrap().collect();
        prop_assert_eq!(segments.len(), 3);
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        prop_assert_eq!(pairs, [("q".to_owned(), value), ("r".to_owned(), "1".to_owned())]);
        prop_assert_eq!(url.fragment(), Some("f"));
    }

    #[test]
    fn a_clients_value_never_leaves_its_segment(value in text(), decodings in 0_usize..3) {
        let Ok(text) = expand("https://h/a/{query.x}/b?q={query.x}", Place::Url, &value) else { return Ok(()) };
        let mut path = url::Url::parse(&text).unwrap().path().to_owned();
        for _ in 0..decodings {
            path = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into_owned();
        }
        prop_assert_eq!(path.split(['/', '\\']).count(), 4, "{}", path);
        prop_assert!(crate::config::meant(&path).is_some(), "{}", path);
    }

    #[test]
    fn a_form_keeps_its_pairs(value in text()) {
        let text = expand("a={token}&b=1", Place::Form, &value).unwrap();
        let pairs: Vec<_> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
        prop_assert_eq!(pairs, [("a".to_owned(), value), ("b".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn json_keeps_its_members(value in text()) {
        let text = expand(r#"{"a":"<{token}>","b":1}"#, Place::JsonString, &value).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(json, serde_json::json!({ "a": format!("<{value}>"), "b": 1 }));
    }

    #[test]
    fn a_header_stays_one_line(value in text()) {
        if let Ok(text) = expand("Bearer {token}", Place::Header, &value) {
            prop_assert!(http::HeaderValue::from_str(&text).is_ok());
        }
    }

    #[test]
    fn a_subprotocol_stays_one_offer(value in text()) {
        if let Ok(text) = expand("auth.{token}", Place::Subprotocol, &value) {
            prop_assert_eq!(text.split([',', ' ', '\t']).count(), 1);
        }
    }

    #[test]
    fn a_cookie_stays_one_cookie(value in text()) {
        if let Ok(text) = expand("a={token}", Place::Cookie, &value) {
            prop_assert_eq!(text.split([';', ',', ' ']).count(), 1);
        }
    }
}
