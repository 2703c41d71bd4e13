//! Kubernetes quantities of bytes, such as `64Mi`. Never floats where bytes are counted.

/// Suffixes with what they multiply by; the binary ones first, because `E` ends no `Ei`.
const SUFFIXES: [(&str, u64); 13] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("Ei", 1 << 60),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000),
    ("", 1),
];

/// Bytes of a quantity, rounded up; `None` if it is not one or too large.
pub(crate) fn bytes(quantity: &str) -> Option<u64> {
    if let Some(thousandths) = quantity.strip_suffix('m') {
        return thousandths.parse::<u64>().ok().map(|count| count.div_ceil(1_000));
    }
    if let Some((mantissa, exponent)) = quantity.split_once(['e', 'E']).filter(|(_, exponent)| !exponent.is_empty()) {
        let by = 10_u64.checked_pow(exponent.parse().ok()?)?;
        return scaled(mantissa, by);
    }
    let (number, by) = SUFFIXES.iter().find_map(|(suffix, by)| Some((quantity.strip_suffix(suffix)?, *by)))?;
    scaled(number, by)
}

/// A decimal number times `by`, rounded up.
fn scaled(number: &str, by: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !plain(whole) || !plain(part) || part.len() > 9 {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let ten = 10_u128.pow(u32::try_from(part.len()).ok()?);
    let part: u128 = if part.is_empty() { 0 } else { part.parse().ok()? };
    let part = (part * u128::from(by)).div_ceil(ten);
    whole.checked_mul(by)?.checked_add(u64::try_from(part).ok()?)
}

/// Bytes as a quantity, in the largest unit that loses nothing.
pub(crate) fn quantity(bytes: u64) -> String {
    let whole = |(_, by): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*by);
    match SUFFIXES[..6].iter().rev().find(whole) {
        Some((suffix, by)) => format!("{}{suffix}", bytes / by),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clusters_write_and_refuses_the_rest() {
        let good = [
            ("64Mi", 64 << 20),
            ("1.5Gi", 3 << 29),
            ("128M", 128_000_000),
            ("1k", 1_000),
            ("1e3", 1_000),
            ("1E", 1_000_000_000_000_000_000),
            ("100m", 1),
            ("0", 0),
            (".5Ki", 512),
            ("7", 7),
        ];
        for (text, wanted) in good {
            assert_eq!(bytes(text), Some(wanted), "{text}");
        }
        for bad in ["", "Mi", "-1", "1.2.3", "1 Mi", "9999999999Ei", "1e99", "0x10", "１"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for count in [0, 1, 1_000, 1 << 10, 64 << 20, 3 << 29, (64 << 20) + 1, u64::MAX] {
            assert_eq!(bytes(&quantity(count)), Some(count));
        }
        assert_eq!(quantity(64 << 20), "64Mi");
    }
}
