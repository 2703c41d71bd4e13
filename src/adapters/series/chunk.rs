//! A run of points of one series, compressed. Points only ever come later than the last one.

use opsward_domain::time::{AtMs, Window};

use crate::codec::{put_bits, put_varint, take_bits, take_varint};

/// Points after which a chunk is full: long enough to compress, short enough to drop and skip.
pub(crate) const CHUNK_POINTS: u16 = 120;

/// Compressed points: times as differences of differences, values as differences in bits.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    first_ms: AtMs,
    last_ms: AtMs,
    step_ms: i64,
    last_bits: u64,
    count: u16,
    bytes: Vec<u8>,
}

impl Chunk {
    /// Adds a point; the caller keeps times rising.
    pub(crate) fn push(&mut self, at_ms: AtMs, value: f64) {
        if self.count == 0 {
            (self.first_ms, self.last_ms) = (at_ms, at_ms);
        }
        let step = at_ms.wrapping_sub(self.last_ms);
        put_varint(&mut self.bytes, step.wrapping_sub(self.step_ms));
        put_bits(&mut self.bytes, value.to_bits(), self.last_bits);
        (self.last_ms, self.step_ms, self.last_bits) = (at_ms, step, value.to_bits());
        self.count += 1;
        if self.is_full() {
            self.bytes.shrink_to_fit();
        }
    }

    /// True if the next point belongs into a new chunk.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= CHUNK_POINTS
    }
    /// Time of the last point.
    pub(crate) fn last_ms(&self) -> AtMs {
        self.last_ms
    }
    /// Points in it.
    pub(crate) fn count(&self) -> usize {
        usize::from(self.count)
    }
    /// Memory it takes.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.capacity() + size_of::<Self>()
    }
    /// True if a point may lie in `window`.
    pub(crate) fn meets(&self, window: &Window) -> bool {
        self.count > 0 && self.first_ms < window.to_ms && self.last_ms >= window.from_ms
    }

    /// Its points in order.
    pub(crate) fn points(&self) -> impl Iterator<Item = (AtMs, f64)> + '_ {
        let mut from = self.bytes.as_slice();
        let (mut at_ms, mut step_ms, mut bits) = (self.first_ms, 0_i64, 0);
        std::iter::from_fn(move || {
            step_ms = step_ms.wrapping_add(take_varint::<i64>(&mut from)?);
            at_ms = at_ms.wrapping_add(step_ms);
            bits = take_bits(&mut from, bits)?;
            Some((at_ms, f64::from_bits(bits)))
        })
    }

    /// The same without points older than `before_ms`.
    pub(crate) fn since(&self, before_ms: AtMs) -> Self {
        let mut kept = Self::default();
        for (at_ms, value) in self.points().filter(|(at, _)| *at >= before_ms) {
            kept.push(at_ms, value);
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_series_are_small() {
        let mut chunk = Chunk::default();
        for i in 0..i64::from(CHUNK_POINTS) {
            chunk.push(1_790_000_000_000 + i * 5_000, (i / 4) as f64);
        }
        assert!(chunk.is_full() && chunk.bytes.len() < 3 * chunk.count(), "{} bytes", chunk.bytes.len());
        assert_eq!(chunk.points().last(), Some((1_790_000_595_000, 29.0)));
        assert_eq!(chunk.since(1_790_000_595_000).count(), 1);
        assert_eq!(chunk.since(i64::MAX).count(), 0);
    }
}
