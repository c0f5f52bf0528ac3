//! Numbers as people say them. What comes from a peer may be any number, and none of them panics.

/// A time in seconds: two units at most, and no digit that nobody needs.
pub(crate) fn span(seconds: f64) -> String {
    const LONGEST: f64 = 1e10;
    let time = if seconds.is_finite() { seconds.clamp(0.0, LONGEST) } else { 0.0 };
    if time == 0.0 {
        return "0 s".to_owned();
    }
    if time < 0.9995 {
        let millis = time * 1000.0;
        return if millis < 9.95 { format!("{millis:.1} ms") } else { format!("{millis:.0} ms") };
    }
    if time < 9.95 {
        return format!("{time:.1} s");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped above")]
    let whole = time.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86400);
    let two = |count: u64, unit: &str, rest: u64, small: &str| match rest {
        0 => format!("{count} {unit}"),
        rest => format!("{count} {unit} {rest} {small}"),
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..600 => two(minutes, "min", whole % 60, "s"),
        600..3600 => format!("{minutes} min"),
        3600..86400 => two(hours, "h", minutes % 60, "min"),
        86400.. => two(days, "d", hours % 24, "h"),
    }
}

/// A part of the whole, never rounded up to all of it.
pub(crate) fn percentage(part: f64) -> String {
    let thousandths = (part.clamp(0.0, 1.0) * 100_000.0 + 1e-6).floor() / 1000.0;
    let text = format!("{thousandths:.3}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Bytes, in the unit that fits.
pub(crate) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit behind the point")]
    let whole = count as f64;
    match count {
        0..1024 => format!("{count} B"),
        1024..0x10_0000 => format!("{:.1} KiB", whole / 1024.0),
        0x10_0000.. => format!("{:.1} MiB", whole / 1_048_576.0),
    }
}

/// "1 session", "3 sessions".
pub(crate) fn count(number: u64, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}

/// The time of day of a moment since the Unix epoch, in UTC.
pub(crate) fn time_of_day(at: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and what is no date has no time")]
    let second = jiff::Timestamp::from_second(at.floor() as i64);
    let text = second.map(|at| at.to_string()).unwrap_or_default();
    text.split_once('T').map_or("--:--:--", |(_, time)| time.trim_end_matches('Z')).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_with_two_units_at_most() {
        for (seconds, words) in [
            (0.0, "0 s"),
            (0.0031, "3.1 ms"),
            (0.0231, "23 ms"),
            (0.9996, "1.0 s"),
            (1.25, "1.2 s"),
            (12.4, "12 s"),
            (59.7, "1 min"),
            (190.0, "3 min 10 s"),
            (601.0, "10 min"),
            (7380.0, "2 h 3 min"),
            (90_000.0, "1 d 1 h"),
            (-3.0, "0 s"),
            (f64::NAN, "0 s"),
            (f64::INFINITY, "0 s"),
        ] {
            assert_eq!(span(seconds), words, "{seconds}");
        }
        assert_eq!(span(f64::MAX), span(1e10));
    }

    #[test]
    fn nothing_is_rounded_up_to_all() {
        let said: Vec<String> = [1.0, 0.999_999, 0.5, 0.99997, 7.0].map(percentage).into();
        assert_eq!(said, ["100 %", "99.999 %", "50 %", "99.997 %", "100 %"]);
    }

    #[test]
    fn counts_and_sizes() {
        assert_eq!((count(1, "session"), count(0, "session")), ("1 session".into(), "0 sessions".into()));
        assert_eq!(
            (bytes(1023), bytes(1536), bytes(3 << 20)),
            ("1023 B".into(), "1.5 KiB".into(), "3.0 MiB".into())
        );
        assert_eq!(time_of_day(1_795_334_930.1), "08:08:50");
        assert_eq!([time_of_day(f64::MAX), time_of_day(f64::NAN)], ["--:--:--", "00:00:00"]);
    }
}
