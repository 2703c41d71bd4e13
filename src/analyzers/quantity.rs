//! Kubernetes quantities (`500m`, `128Mi`, `1e3`) as numbers, and bytes as people read them.

/// The number a quantity stands for; `None` if it is not one.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let exponent = suffix.strip_prefix(['e', 'E']).filter(|rest| rest.parse::<i32>().is_ok());
    if exponent.is_some() {
        return text.parse().ok();
    }
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    number.is_finite().then_some(number * factor)
}

/// A quantity given as text or as a bare number.
pub(crate) fn of(value: &serde_json::Value) -> Option<f64> {
    match value {
        serde_json::Value::String(text) => parse(text),
        other => other.as_f64(),
    }
}

/// Bytes in the largest unit that keeps them readable.
pub(crate) fn bytes(number: f64) -> String {
    let units = ["", "Ki", "Mi", "Gi", "Ti"];
    let mut size = number;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    if size.fract() == 0.0 { format!("{size:.0}{}", units[unit]) } else { format!("{size:.1}{}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_suffix_and_refuses_the_rest() {
        let cases = [("500m", 0.5), ("1", 1.0), ("128Mi", 134_217_728.0), ("1e3", 1000.0), ("2E", 2e18), ("0.5", 0.5)];
        for (text, want) in cases {
            assert_eq!(parse(text), Some(want), "{text}");
        }
        for bad in ["", "Mi", "1 Gi", "1xi", "nan", "--1", "1Mi2"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(bytes(134_217_728.0), "128Mi");
        assert_eq!(bytes(1_610_612_736.0), "1.5Gi");
    }
}
