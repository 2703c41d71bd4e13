//! Bytes of numbers: variable-length integers, and floats as the difference to their predecessor.
//! Decoders return `None` on any malformed input and never read past it.

use integer_encoding::VarInt;

/// Most bytes of one number.
const VARINT_BYTES_MAX: usize = 10;

/// Appends `value` in 7-bit groups, low ones first; signed ones so that small distances either way stay short.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: impl VarInt) {
    let mut bytes = [0; VARINT_BYTES_MAX];
    let length = value.encode_var(&mut bytes);
    out.extend_from_slice(&bytes[..length]);
}

/// Reads what [`put_varint`] wrote and moves `from` behind it.
pub(crate) fn take_varint<T: VarInt>(from: &mut &[u8]) -> Option<T> {
    let (value, length) = T::decode_var(from)?;
    *from = from.get(length..)?;
    Some(value)
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
    let length = usize::try_from(take_varint::<u64>(from)?).ok()?;
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
            put_varint(&mut out, signed);
            put_bits(&mut out, value, before);
            put_bits(&mut out, value, value);
            put_text(&mut out, &text);
            let mut from = out.as_slice();
            prop_assert_eq!(take_varint(&mut from), Some(value));
            prop_assert_eq!(take_varint(&mut from), Some(signed));
            prop_assert_eq!(take_bits(&mut from, before), Some(value));
            prop_assert_eq!(take_bits(&mut from, value), Some(value));
            prop_assert_eq!(take_text(&mut from), Some(text.as_str()));
            prop_assert!(from.is_empty());
        }

        #[test]
        fn nonsense_is_refused_not_followed(bytes: Vec<u8>) {
            let mut from = bytes.as_slice();
            while take_bits(&mut from, 0).is_some()
                || take_text(&mut from).is_some()
                || take_varint::<u64>(&mut from).is_some()
                || take_varint::<i64>(&mut from).is_some()
            {}
        }
    }

    /// What is on disks already has to stay readable.
    #[test]
    fn numbers_are_written_as_ever() {
        let written = |put: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            put(&mut out);
            out
        };
        assert_eq!(written(&|out| put_varint(out, 300_u64)), [0xac, 0x02]);
        assert_eq!(written(&|out| put_varint(out, u64::MAX)), [[0xff; 9].as_slice(), &[1]].concat());
        assert_eq!(written(&|out| put_varint(out, -1_i64)), [1]);
        assert_eq!(written(&|out| put_varint(out, 150_i64)), [0xac, 0x02]);
        assert_eq!(written(&|out| put_varint(out, i64::MIN)), [[0xff; 9].as_slice(), &[1]].concat());
    }

    #[test]
    fn endless_numbers_are_refused() {
        assert_eq!(take_varint::<u64>(&mut [0xff; 11].as_slice()), None);
        assert_eq!(take_bits(&mut [0x85, 0, 0].as_slice(), 0), None);
    }
}
