//! A median, and the range around it.

/// What several turns came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() {
            0 => f64::NAN,
            even if even.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
        Self { median, low: end(values.first()), high: end(values.last()) }
    }

    /// For a table: the median, and behind it the range, where there is one.
    pub(crate) fn cell(self, digits: impl Fn(f64) -> String) -> String {
        if !self.median.is_finite() {
            return "–".to_owned();
        }
        let (low, high) = (digits(self.low), digits(self.high));
        let median = digits(self.median);
        if low == high { median } else { format!("{median} ({low}–{high})") }
    }
}

/// A quantity, with as many digits as mean something.
pub(crate) fn quantity(value: f64) -> String {
    match value.abs() {
        small if small < 1.0 => format!("{value:.3}"),
        medium if medium < 10.0 => format!("{value:.2}"),
        large if large < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

pub(crate) fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}
