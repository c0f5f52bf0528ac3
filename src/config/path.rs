//! What a path means: the one answer, for the requests of clients and for what is put into a URL.

use percent_encoding::percent_decode_str;

/// A path as a server may come to see it: unescaped, and without empty segments and parameters. `None`: it climbs,
/// and nobody knows how a server takes that.
pub fn meant(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let segments = decoded.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default());
    let mut meant = String::new();
    for segment in segments.filter(|segment| !segment.is_empty()) {
        if matches!(segment, "." | "..") {
            return None;
        }
        meant.push('/');
        meant.push_str(segment);
    }
    Some(meant)
}

/// Does a value stay one segment of a path, for servers that decode once, twice, or not at all?
pub(super) fn is_segment(value: &str) -> bool {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let once = decoded(value);
    let twice = decoded(&once);
    [value, &once, &twice].into_iter().all(|text| {
        let plain = !text.is_empty() && !text.contains(['/', '\\', '\0']);
        plain && meant(text).is_some_and(|meant| !meant.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_for_what_it_means() {
        for (path, expected) in [
            ("/", Some("")),
            ("//a/%62;v=1//c%2Fd/", Some("/a/b/c/d")),
            ("/a/.../b..", Some("/a/.../b..")),
            ("/a/%2e%2E/b", None),
            ("/a/..;x/b", None),
            ("/a\\.", None),
        ] {
            assert_eq!(meant(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_segment_stays_one_however_often_it_is_decoded() {
        for good in ["alice", "a b", "é", "a%20b", "100%", "...", "a.b", "a;b", "~"] {
            assert!(is_segment(good), "{good}");
        }
        for climbs in [
            "",
            ".",
            "..",
            "../admin",
            "a/b",
            "/",
            "a\\b",
            "..\\x",
            "%2e%2e",
            "%2E.",
            "..%2Fadmin",
            "a%2fb",
            "a%5Cb",
            "%252e%252e",
            "..%252fadmin",
            "%252F",
            "..;x",
            ";",
            "a\0",
            "%00",
        ] {
            assert!(!is_segment(climbs), "{climbs}");
        }
    }
}
