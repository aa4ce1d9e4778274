//! Durations, sizes, times and base64 as people and JSON write them. Text enters and values leave, and the other way round.

use std::time::Duration;

/// Reads `250ms`, `30s`, `5m`, `2h`, `1d`, sums such as `1h30m`, or a bare number of seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write 500ms, 30s, 5m, 2h, 1d or 1h30m");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let seconds = match &rest[..end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(wrong()),
        };
        rest = &rest[end..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        sum = sum.checked_add(part).ok_or_else(wrong)?;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}

/// Reads `1048576`, `64KiB`, `1MiB`, `2GiB`; `K`, `M` and `G` mean the same.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size; write a number of bytes, or 64KiB, 1MiB, 2GiB");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().map_err(|_| wrong())?;
    let factor: u64 = match text[end..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

/// A duration in at most two units: `850ms`, `12.3s`, `4m 05s`, `3h 07m`, `2d 04h`.
pub(crate) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{}ms", duration.as_millis()),
        1..60 => format!("{:.1}s", (duration.as_secs_f64() * 10.0).floor() / 10.0),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A size in the unit that makes it short: `17 B`, `1.5 KiB`, `2.0 MiB`.
pub(crate) fn show_size(bytes: u64) -> String {
    // For people: f64 is exact far beyond any size shown here.
    #[allow(clippy::cast_precision_loss)]
    let exact = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", exact / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", exact / 1_048_576.0),
        _ => format!("{:.1} GiB", exact / 1_073_741_824.0),
    }
}

/// A moment as RFC 3339 in UTC with milliseconds: `2026-01-31T09:05:07.042Z`.
pub(crate) fn show_time(unix_millis: u64) -> String {
    let (days, within) = (unix_millis / 86_400_000, unix_millis % 86_400_000);
    let (year, month, day) = civil(days);
    let (hours, minutes) = (within / 3_600_000, within / 60_000 % 60);
    let (seconds, millis) = (within / 1000 % 60, within % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

/// The civil date of a day counted from 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date algorithms":
/// years begin in March, so that the leap day is a year's last).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Bytes as base64 with padding (RFC 4648, section 4).
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let digit = ALPHABET[(group >> (18 - 6 * position) & 63) as usize];
            text.push(if position <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

/// The bytes of a base64 text with padding.
pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || "it is not base64 (A-Z, a-z, 0-9, '+', '/', padded with '=')".to_owned();
    if !text.len().is_multiple_of(4) {
        return Err(wrong());
    }
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if padding > 2 {
        return Err(wrong());
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut group, mut bits) = (0u32, 0u32);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit).ok_or_else(wrong)?;
        group = (group << 6 | u32::try_from(value).map_err(|_| wrong())?) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(group >> bits & 0xff).map_err(|_| wrong())?);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        let millis = |text| parse_duration(text).map(|duration| duration.as_millis());
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("1.5s"), Ok(1500));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("90"), Ok(90_000));
        assert_eq!(millis("2d"), Ok(172_800_000));
        for bad in ["", "s", "5x", "1h-3m", "-1", "1e400", "5 m", "inf", "nan"] {
            assert!(parse_duration(bad).unwrap_err().contains("is not a duration"), "{bad}");
        }
    }

    #[test]
    fn sizes_read_and_show() {
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("1m"), Ok(1 << 20));
        assert_eq!(parse_size("17"), Ok(17));
        assert!(
            parse_size("lots").is_err() && parse_size("99999999999999999999").is_err() && parse_size("99999999999G").is_err()
        );
        assert_eq!(show_size(1536), "1.5 KiB");
        assert_eq!(show_size(17), "17 B");
    }

    #[test]
    fn durations_show_in_two_units_at_most() {
        let show = |millis| show_duration(Duration::from_millis(millis));
        let seen = [show(850), show(12_340), show(59_990), show(245_000), show(11_220_000), show(190_000_000)];
        assert_eq!(seen, ["850ms", "12.3s", "59.9s", "4m 05s", "3h 07m", "2d 04h"]);
    }

    #[test]
    fn times_are_utc_with_leap_days() {
        assert_eq!(show_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(show_time(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(show_time(951_868_799_001), "2000-02-29T23:59:59.001Z");
        assert_eq!(show_time(1_769_850_307_042), "2026-01-31T09:05:07.042Z");
    }

    #[test]
    fn base64_follows_the_rfc_vectors_and_reads_back() {
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (plain, text) in vectors {
            assert_eq!(to_base64(plain.as_bytes()), text);
            assert_eq!(from_base64(text).unwrap(), plain.as_bytes());
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(from_base64(&to_base64(&all)).unwrap(), all);
        for bad in ["Zg=", "Z===", "Zm9v!A==", "Zg==Zg=="] {
            assert!(from_base64(bad).is_err(), "{bad}");
        }
    }
}
