//! Numbers, times and names as people read them.

use arrow::temporal_conversions::timestamp_us_to_datetime;
use stepwell_engine::RunId;

/// A number in at most eight characters or so: six significant digits, no trailing zeros.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor();
    if !(-4.0..9.0).contains(&magnitude) {
        let text = format!("{value:.3e}");
        return match text.split_once('e') {
            Some((digits, exponent)) if digits.contains('.') => {
                format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => text,
        };
    }
    let decimals = (5.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A count with thousands separators: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size: `57.5 kB`.
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut scaled = value as f64;
    let mut unit = 0;
    while scaled >= 999.5 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{value} B") } else { format!("{scaled:.1} {}", UNITS[unit]) }
}

/// A duration: `37 ns`, `1.25 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(nanos: i64) -> String {
    let secs = nanos as f64 / 1e9;
    let whole = nanos / 1_000_000_000;
    match nanos {
        i64::MIN..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} us", three_digits(nanos as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", three_digits(nanos as f64 / 1e6)),
        1_000_000_000..60_000_000_000 => format!("{secs:.1} s"),
        60_000_000_000..3_600_000_000_000 => format!("{} min {} s", whole / 60, whole % 60),
        3_600_000_000_000..86_400_000_000_000 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// A number from 1 to 1000 with three digits: `1.62`, `45.5`, `146`.
fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}")
}

/// A count and what is counted: `1 run`, `1,234 runs`.
pub fn plural(value: u64, what: &str) -> String {
    format!("{} {what}{}", count(value), if value == 1 { "" } else { "s" })
}

/// How long ago: `just now`, `5 min ago`, `3 d ago`.
pub fn ago(nanos: i64, now: i64) -> String {
    let secs = (now - nanos) / 1_000_000_000;
    match secs {
        i64::MIN..5 => "just now".to_owned(),
        5..120 => format!("{secs} s ago"),
        120..7_200 => format!("{} min ago", secs / 60),
        7_200..172_800 => format!("{} h ago", secs / 3600),
        _ => format!("{} d ago", secs / 86_400),
    }
}

/// A moment: `2026-11-23 05:34:00 UTC`.
pub fn moment(nanos: i64) -> String {
    match timestamp_us_to_datetime(nanos.div_euclid(1_000_000_000) * 1_000_000) {
        Some(moment) => format!("{moment} UTC"),
        None => format!("{nanos} ns since 1970"),
    }
}

/// Nanoseconds since the Unix epoch.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// At most `width` characters, the end cut off with `...`.
pub fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    format!("{}...", kept.trim_end())
}

/// The beginnings of run ids, as short as they can be and still name one run.
///
/// Ids of runs started in the same minute begin with the same digits, so a fixed length would not do.
pub struct ShortIds {
    sorted: Vec<String>,
}

impl ShortIds {
    /// Shortest beginning shown.
    const LENGTH_MIN: usize = 8;

    /// For a store with these runs.
    pub fn new(ids: impl Iterator<Item = RunId>) -> Self {
        let mut sorted: Vec<String> = ids.map(|id| id.to_string()).collect();
        sorted.sort_unstable();
        Self { sorted }
    }

    /// The beginning of one of the ids.
    pub fn of(&self, id: RunId) -> String {
        let text = id.to_string();
        let shared = |other: &String| text.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let index = self.sorted.partition_point(|other| *other < text);
        // Sorted as they are, no other id shares more with this one than its neighbours do.
        let before = index.checked_sub(1).and_then(|before| self.sorted.get(before));
        let after = self.sorted[index..].iter().find(|other| **other != text);
        let length = before.into_iter().chain(after).map(|other| shared(other) + 1).max().unwrap_or(0);
        // A beginning that ends in a dash looks cut off.
        let length = match length.max(Self::LENGTH_MIN) {
            length @ (9 | 14 | 19 | 24) => length + 1,
            length => length,
        };
        text.chars().take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(0.1), "0.1");
        assert_eq!(number(3.2781), "3.2781");
        assert_eq!(number(-0.000123456789), "-0.000123457");
        assert_eq!(number(1234567.0), "1234567");
        assert_eq!(number(1.5e-9), "1.5e-9");
        assert_eq!(number(2e12), "2e12");
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(f64::NEG_INFINITY), "-inf");
    }

    #[test]
    fn counts_sizes_and_durations() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123_456), "123,456");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(57_523), "57.5 kB");
        assert_eq!(bytes(999_999), "1.0 MB");
        assert_eq!(duration(37), "37 ns");
        assert_eq!(duration(1_250_000), "1.25 ms");
        assert_eq!(duration(45_520_000), "45.5 ms");
        assert_eq!(duration(146_400), "146 us");
        assert_eq!(plural(1, "run"), "1 run");
        assert_eq!(plural(1234, "run"), "1,234 runs");
        assert_eq!(duration(4_200_000_000), "4.2 s");
        assert_eq!(duration(200_000_000_000), "3 min 20 s");
        assert_eq!(duration(7_500_000_000_000), "2 h 5 min");
        assert_eq!(ago(0, 300_000_000_000), "5 min ago");
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(moment(1_795_412_040_123_456_789), "2026-11-23 05:34:00 UTC");
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
    }

    #[test]
    fn short_ids_tell_runs_apart() {
        let id = |text: &str| text.parse::<RunId>().unwrap();
        let a = id("0190b2f4-6f1e-7c3a-9f6e-2d5a1c0b9e8f");
        let b = id("0190b2f4-6f1e-7c3b-9f6e-2d5a1c0b9e8f");
        assert_eq!(ShortIds::new([a].into_iter()).of(a), "0190b2f4");
        let c = id("0190b2f4-7f1e-7c3b-9f6e-2d5a1c0b9e8f");
        let short = ShortIds::new([c, a, b].into_iter());
        assert_eq!((short.of(a), short.of(b)), ("0190b2f4-6f1e-7c3a".into(), "0190b2f4-6f1e-7c3b".into()));
        assert_eq!(short.of(c), "0190b2f4-7");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcdef", 5), "ab...");
    }
}
