//! The newest lines, in memory in the form in which the spool holds them. Knows nothing of files.

use opsward_domain::time::AtMs;

use crate::wire::{put_varint, take_varint};

/// A line without its text: template and shape say what is constant, `params` what is not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// When.
    pub(crate) at_ms: AtMs,
    /// Template id and shape, see [`variant`].
    pub(crate) variant: u64,
    /// Number of its workspace and workload in the catalog.
    pub(crate) place: u32,
    /// Replica.
    pub(crate) replica: u32,
    /// Level code, 0 for none.
    pub(crate) level: u8,
    from: u32,
    length: u32,
}

/// A template's id and the number of one of its shapes in one number.
pub(crate) fn variant(template: u64, shape: u8) -> u64 {
    template << 8 | u64::from(shape)
}

/// Lines in order of arrival.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memtable {
    rows: Vec<Row>,
    params: Vec<u8>,
}

impl Memtable {
    /// Adds a line with its encoded parameters.
    pub(crate) fn push(&mut self, mut row: Row, params: impl FnOnce(&mut Vec<u8>)) {
        row.from = self.params.len() as u32;
        params(&mut self.params);
        row.length = self.params.len() as u32 - row.from;
        self.rows.push(row);
    }

    /// Adds every line of `other`.
    pub(crate) fn extend(&mut self, other: &Self) {
        for row in &other.rows {
            self.push(*row, |out| out.extend_from_slice(other.params(row)));
        }
    }

    /// The lines.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }
    /// A line's encoded parameters.
    pub(crate) fn params(&self, row: &Row) -> &[u8] {
        self.params.get(row.from as usize..(row.from + row.length) as usize).unwrap_or_default()
    }
    /// Memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>() + self.params.len()
    }
    /// True without lines.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its bytes for the spool.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.params.len() + self.rows.len() * 12);
        let mut before_ms = 0_i64;
        for row in &self.rows {
            put_varint(&mut out, row.at_ms.wrapping_sub(before_ms));
            put_varint(&mut out, row.variant);
            put_varint(&mut out, u64::from(row.place));
            put_varint(&mut out, u64::from(row.replica));
            out.push(row.level);
            put_varint(&mut out, u64::from(row.length));
            out.extend_from_slice(self.params(row));
            before_ms = row.at_ms;
        }
        out
    }

    /// Adds the lines that [`Memtable::encode`] wrote; `None` if the bytes are wrong.
    pub(crate) fn decode(&mut self, mut from: &[u8]) -> Option<()> {
        let mut at_ms = 0_i64;
        while !from.is_empty() {
            at_ms = at_ms.wrapping_add(take_varint::<i64>(&mut from)?);
            let variant = take_varint::<u64>(&mut from)?;
            let place = u32::try_from(take_varint::<u64>(&mut from)?).ok()?;
            let replica = u32::try_from(take_varint::<u64>(&mut from)?).ok()?;
            let (level, rest) = from.split_first()?;
            from = rest;
            let length = usize::try_from(take_varint::<u64>(&mut from)?).ok()?;
            let (params, rest) = from.split_at_checked(length)?;
            from = rest;
            self.push(Row::new(at_ms, variant, place, replica, *level), |out| out.extend_from_slice(params));
        }
        Some(())
    }
}

impl Row {
    /// A line that has no parameters yet.
    pub(crate) fn new(at_ms: AtMs, variant: u64, place: u32, replica: u32, level: u8) -> Self {
        Self { at_ms, variant, place, replica, level, from: 0, length: 0 }
    }
}

/// Appends one parameter to encoded ones.
pub(crate) fn put_param(out: &mut Vec<u8>, param: &str) {
    put_varint(out, param.len() as u64);
    out.extend_from_slice(param.as_bytes());
}

/// The parameters that [`put_param`] wrote, up to the first wrong byte.
pub(crate) fn params(mut from: &[u8]) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let length = usize::try_from(take_varint::<u64>(&mut from)?).ok()?;
        let (param, rest) = from.split_at_checked(length)?;
        from = rest;
        std::str::from_utf8(param).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_come_back(lines in prop::collection::vec((any::<i64>(), any::<u64>(), any::<u32>(), 0_u8..7, "\\PC{0,20}"), 0..20)) {
            let mut table = Memtable::default();
            for (at_ms, variant, place, level, param) in &lines {
                table.push(Row::new(*at_ms, *variant, *place, *place, *level), |out| put_param(out, param));
            }
            let mut copy = Memtable::default();
            prop_assert!(copy.decode(&table.encode()).is_some());
            for (row, line) in copy.rows().iter().zip(&lines) {
                prop_assert_eq!((row.at_ms, row.variant, row.place, row.level), (line.0, line.1, line.2, line.3));
                prop_assert_eq!(params(copy.params(row)).collect::<Vec<_>>(), vec![line.4.as_str()]);
            }
            prop_assert_eq!(copy.rows().len(), lines.len());
        }

        #[test]
        fn nonsense_is_refused(bytes: Vec<u8>) {
            let _ = Memtable::default().decode(&bytes);
            let _ = params(&bytes).count();
        }
    }
}
