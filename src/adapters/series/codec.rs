//! Bytes of numbers: variable-length integers, and floats as the difference to their predecessor.
//! Decoders return `None` on any malformed input and never read past it.

/// Appends `value` in 7-bit groups, low ones first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads what [`put_varint`] wrote and moves `from` behind it.
pub(crate) fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Signed to unsigned so that small distances either way stay short.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Back from [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends `bits` as its difference to `before`: a byte that counts zero bytes at either end, then the
/// bytes between. An unchanged value costs one byte, a counter's step usually two or three.
pub(crate) fn put_bits(out: &mut Vec<u8>, bits: u64, before: u64) {
    let differs = bits ^ before;
    let lead = differs.leading_zeros() as usize / 8;
    let trail = if lead == 8 { 0 } else { differs.trailing_zeros() as usize / 8 };
    out.push((lead << 4 | trail) as u8);
    out.extend_from_slice(&differs.to_be_bytes()[lead..8 - trail]);
}

/// Reads what [`put_bits`] wrote.
pub(crate) fn take_bits(from: &mut &[u8], before: u64) -> Option<u64> {
    let (head, rest) = from.split_first()?;
    let (lead, trail) = (usize::from(head >> 4), usize::from(head & 15));
    let count = 8_usize.checked_sub(lead + trail)?;
    let mut bytes = [0; 8];
    bytes[lead..lead + count].copy_from_slice(rest.get(..count)?);
    *from = &rest[count..];
    Some(u64::from_be_bytes(bytes) ^ before)
}

/// Appends `text` with its length.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads what [`put_text`] wrote.
pub(crate) fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take_varint(from)?).ok()?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, signed: i64, before: u64, text in "\\PC{0,40}") {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_varint(&mut out, zigzag(signed));
            put_bits(&mut out, value, before);
            put_bits(&mut out, value, value);
            put_text(&mut out, &text);
            let mut from = out.as_slice();
            prop_assert_eq!(take_varint(&mut from), Some(value));
            prop_assert_eq!(take_varint(&mut from).map(unzigzag), Some(signed));
            prop_assert_eq!(take_bits(&mut from, before), Some(value));
            prop_assert_eq!(take_bits(&mut from, value), Some(value));
            prop_assert_eq!(take_text(&mut from), Some(text.as_str()));
            prop_assert!(from.is_empty());
        }

        #[test]
        fn nonsense_is_refused_not_followed(bytes: Vec<u8>) {
            let mut from = bytes.as_slice();
            while take_bits(&mut from, 0).is_some() || take_text(&mut from).is_some() || take_varint(&mut from).is_some() {}
        }
    }

    #[test]
    fn endless_numbers_are_refused() {
        assert_eq!(take_varint(&mut [0xff; 11].as_slice()), None);
        assert_eq!(take_bits(&mut [0x85, 0, 0].as_slice(), 0), None);
    }
}
