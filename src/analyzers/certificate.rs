//! When a certificate is valid: the one thing read from X.509, by walking DER. Trusts nothing, verifies nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use opsward_domain::time::AtMs;

/// Larger inputs are not read.
const PEM_BYTES_MAX: usize = 256 * 1024;

/// The span in which the first certificate of a PEM text is valid.
pub(crate) fn validity(pem: &str) -> Option<(AtMs, AtMs)> {
    if pem.len() > PEM_BYTES_MAX {
        return None;
    }
    let body = pem.split_once("-----BEGIN CERTIFICATE-----")?.1.split_once("-----END CERTIFICATE-----")?.0;
    let packed: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    of_der(&STANDARD.decode(packed).ok()?)
}

/// As [`validity`], from base64 of a PEM text, the way a Secret holds it.
pub(crate) fn validity_of_secret(data: &str) -> Option<(AtMs, AtMs)> {
    if data.len() > PEM_BYTES_MAX {
        return None;
    }
    let packed: String = data.chars().filter(|c| !c.is_whitespace()).collect();
    validity(&String::from_utf8(STANDARD.decode(packed).ok()?).ok()?)
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERAL_TIME: u8 = 0x18;

fn of_der(der: &[u8]) -> Option<(AtMs, AtMs)> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (mut rest, _) = take(certificate, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = next(rest)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = next(rest)?.2;
    }
    let (validity, _) = take(rest, SEQUENCE)?;
    let (tag, from, rest) = next(validity)?;
    let from = time(tag, from)?;
    let (tag, to, _) = next(rest)?;
    Some((from, time(tag, to)?))
}

fn take(input: &[u8], want: u8) -> Option<(&[u8], &[u8])> {
    next(input).filter(|(tag, _, _)| *tag == want).map(|(_, body, rest)| (body, rest))
}

/// Tag, body and what follows of the first element.
fn next(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, input) = input.split_first()?;
    let (&first, mut input) = input.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 4 || input.len() < count {
            return None;
        }
        length = input[..count].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        input = &input[count..];
    }
    (input.len() >= length).then(|| (tag, &input[..length], &input[length..]))
}

fn time(tag: u8, body: &[u8]) -> Option<AtMs> {
    let text = std::str::from_utf8(body).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let text = match (tag, text.len()) {
        (UTC_TIME, 12) => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        (GENERAL_TIME, 14) => text.to_owned(),
        _ => return None,
    };
    let part = |from: usize, to: usize| &text[from..to];
    let iso =
        format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14));
    crate::when::parse_text(&iso)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made for this test: self-signed, valid for one day of January 2024.
    const EXPIRED: &str = include_str!("tests/expired.pem");

    #[test]
    fn reads_the_span_and_survives_any_cut() {
        let (from, to) = validity(EXPIRED).unwrap();
        assert!(from < to && crate::when::iso(to).starts_with("2024-01-"), "{}", crate::when::iso(to));
        let der = {
            let body: String = EXPIRED.lines().filter(|line| !line.starts_with('-')).collect();
            STANDARD.decode(body).unwrap()
        };
        for end in 0..der.len() {
            assert_eq!(of_der(&der[..end]), None, "cut at {end}");
        }
        for at in 0..der.len() {
            let mut bent = der.clone();
            bent[at] ^= 0xff;
            let _ = of_der(&bent);
        }
        assert_eq!(validity(""), None);
        assert_eq!(validity("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----"), None);
        assert_eq!(validity_of_secret("AAAA"), None);
    }
}
